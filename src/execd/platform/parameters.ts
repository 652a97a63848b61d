import { assertNoNul, textToBytes } from '../../kit/text-bytes.ts'

const LONE_SURROGATE = /\p{Surrogate}/u
const LINE_FEED: Uint8Array = Buffer.from('\n')
const PLAIN_BYTE = /[A-Za-z0-9_@+:,./=-]/

/**
 * Shell lines that turn the parameters of {@link encodeParameters} back into `"$@"`, byte for byte. The `x` keeps line
 * feeds at the end, which a command substitution would eat.
 */
export const DECODE_PARAMETERS = `
if [ "$1" = octal ]; then
  shift
  n=$#
  while [ "$n" -gt 0 ]; do
    v=$(printf '%bx' "$1")
    set -- "$@" "\${v%x}"
    shift
    n=$((n - 1))
  done
else
  shift
fi
`

/**
 * Parameters for a script that begins with {@link DECODE_PARAMETERS}. Platforms carry argv as Unicode text, so words with
 * bytes that are not UTF-8 (lone surrogates, see `textToBytes`) travel as octal escapes; all others travel as they are.
 *
 * @throws AnyplaceError `invalid-argument` when a word holds a NUL
 */
export function encodeParameters(words: readonly string[]): string[] {
  for (const [index, word] of words.entries()) assertNoNul(word, `parameter ${index}`)
  if (!words.some((word) => LONE_SURROGATE.test(word))) return ['raw', ...words]
  return ['octal', ...words.map(octal)]
}

function octal(word: string): string {
  let text = ''
  for (const byte of textToBytes(word)) {
    const character = String.fromCharCode(byte)
    text += PLAIN_BYTE.test(character) ? character : `\\0${byte.toString(8).padStart(3, '0')}`
  }
  return text
}

/**
 * Shell lines that set `"$@"` to the words of {@link wordsAsInput}, read from stdin and not a byte more. Added in
 * groups, because adding to `"$@"` word by word takes seconds for thousands of them.
 */
export const READ_WORDS = `
IFS= read -r count || exit 125
index=0 names=
set --
while [ "$count" -gt 0 ]; do
  IFS= read -r word || exit 125
  case $word in
  o*) word=$(printf '%bx' "\${word#o}") word=\${word%x} ;;
  *) word=\${word#r} ;;
  esac
  count=$((count - 1)) index=$((index + 1))
  eval "word$index=\\$word"
  names="$names \\"\\$word$index\\""
  if [ "$count" = 0 ] || [ "$index" = 300 ]; then
    eval "set -- \\"\\$@\\" $names"
    index=0 names=
  fi
done
`

/**
 * Words for a script that reads them with {@link READ_WORDS}: how many, then one a line as raw bytes; words that hold a
 * line feed as octal escapes.
 *
 * @throws AnyplaceError `invalid-argument` when a word holds a NUL
 */
export function wordsAsInput(words: readonly string[]): Uint8Array {
  const lines = words.map((word, index) => {
    assertNoNul(word, `word ${index}`)
    return word.includes('\n') ? `o${octal(word)}` : `r${word}`
  })
  return Buffer.concat([`${words.length}`, ...lines].flatMap((line) => [textToBytes(line), LINE_FEED]))
}
