import { isUtf8 } from 'node:buffer'
import { AnyplaceError } from '../spec/index.ts'

const LONE_SURROGATE = /\p{Surrogate}/u
const LOSSY = new TextDecoder('utf-8', { ignoreBOM: true })

/**
 * The bytes that `text` stands for: UTF-8, where a lone surrogate U+DC80..U+DCFF is the one byte 0x80..0xFF
 * (Python's `surrogateescape`). The inverse of {@link bytesToText}.
 *
 * @throws AnyplaceError `invalid-argument` for any other lone surrogate, which stands for nothing
 */
export function textToBytes(text: string): Uint8Array {
  if (!LONE_SURROGATE.test(text)) return Buffer.from(text, 'utf8')
  const bytes = Buffer.allocUnsafe(text.length * 3)
  let length = 0
  let plainFrom = 0
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index)
    if (unit < 0xd800 || unit > 0xdfff) continue
    const next = text.charCodeAt(index + 1)
    if (unit < 0xdc00 && next >= 0xdc00 && next <= 0xdfff) {
      index++ // a proper pair
      continue
    }
    if (unit < 0xdc80 || unit > 0xdcff) {
      throw new AnyplaceError(
        'invalid-argument',
        `Text holds the lone surrogate U+${unit.toString(16).toUpperCase()} at ${index}, which stands for no byte.`,
      )
    }
    length += bytes.write(text.slice(plainFrom, index), length, 'utf8')
    bytes[length++] = unit - 0xdc00
    plainFrom = index + 1
  }
  length += bytes.write(text.slice(plainFrom), length, 'utf8')
  return bytes.subarray(0, length)
}

/**
 * Bytes as text that {@link textToBytes} turns back into exactly these bytes: UTF-8, and each byte that is not part of a
 * valid sequence as a lone surrogate U+DC80..U+DCFF. A byte order mark is kept.
 */
export function bytesToText(bytes: Uint8Array): string {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (isUtf8(buffer)) return buffer.toString('utf8')
  const parts: string[] = []
  let validFrom = 0
  let index = 0
  while (index < buffer.length) {
    const length = sequenceLength(buffer, index)
    if (length > 0) {
      index += length
      continue
    }
    if (index > validFrom) parts.push(buffer.toString('utf8', validFrom, index))
    parts.push(String.fromCharCode(0xdc00 + buffer[index]!))
    index++
    validFrom = index
  }
  if (index > validFrom) parts.push(buffer.toString('utf8', validFrom, index))
  return parts.join('')
}

/** Bytes as text for people: what is not UTF-8 becomes U+FFFD. A byte order mark is kept. */
export function utf8Lossy(bytes: Uint8Array): string {
  return LOSSY.decode(bytes)
}

/**
 * Refuses a NUL, which ends a string for the system and would cut the value silently.
 *
 * @param field what the value is, in the caller's words: `argv[2]`, `path`, `env.NAME`
 * @throws AnyplaceError `invalid-argument` that names the field; the value itself is not in the message
 */
export function assertNoNul(value: string, field: string): void {
  const position = value.indexOf('\0')
  if (position >= 0) {
    throw new AnyplaceError('invalid-argument', `${field} holds a NUL character at position ${position}.`, { field })
  }
}

/** Bytes of the valid UTF-8 sequence that starts here; 0 when there is none. */
function sequenceLength(bytes: Uint8Array, index: number): number {
  const first = bytes[index]!
  if (first < 0x80) return 1
  const length = first >= 0xc2 && first <= 0xdf ? 2 : first >> 4 === 0xe ? 3 : first >= 0xf0 && first <= 0xf4 ? 4 : 0
  return length > 0 && index + length <= bytes.length && isUtf8(bytes.subarray(index, index + length)) ? length : 0
}
