import { readFileSync } from 'node:fs'
import { bytesToText } from '../kit/text-bytes.ts'

const REPLACEMENT = '\uFFFD'

/**
 * Our arguments with every byte kept. Node turns bytes that are not UTF-8 into U+FFFD; where the system tells the exact
 * bytes (Linux), they come back as lone surrogates, which is how the library writes them.
 */
export function rawWords(words: readonly string[]): readonly string[] {
  if (!words.some((word) => word.includes(REPLACEMENT))) return words
  let line: Buffer
  try {
    line = readFileSync('/proc/self/cmdline')
  } catch {
    return words
  }
  const exact = splitAtNul(line).map(bytesToText).slice(-words.length)
  // Anything but the same words means that the process has another title.
  const isSame = exact.every(
    (word, index) => word.replace(/[\uDC80-\uDCFF]+/g, '') === words[index]?.replaceAll(REPLACEMENT, ''),
  )
  return exact.length === words.length && isSame ? exact : words
}

function splitAtNul(line: Buffer): readonly Buffer[] {
  const parts: Buffer[] = []
  let from = 0
  for (let at = line.indexOf(0); at >= 0; at = line.indexOf(0, from)) {
    parts.push(line.subarray(from, at))
    from = at + 1
  }
  return parts
}
