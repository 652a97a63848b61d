import { assertNoNul } from './text-bytes.ts'

// Neither `=` (an assignment), `~` nor `%` (a job) is here: as a first word each means something of its own.
const PLAIN = /^[A-Za-z0-9_@+:,./-]+$/
const RESERVED = new Set(
  (
    'case coproc do done elif else esac fi for function if in select then time until while ' +
    'alias break continue eval exec exit export return set shift source trap unset'
  ).split(' '),
)

/**
 * One word as a POSIX shell reads it back unchanged, also as the first word of a command.
 *
 * Quoting does not stop a program from taking a word that begins with `-` as an option; put `--` before such words.
 *
 * @throws AnyplaceError `invalid-argument` when the word holds a NUL byte
 */
export function quoteShell(word: string): string {
  assertNoNul(word, 'word')
  if (PLAIN.test(word) && !RESERVED.has(word)) return word
  return `'${word.replaceAll("'", `'\\''`)}'`
}

/**
 * A whole command for a POSIX shell: every word quoted, one space between.
 *
 * @throws AnyplaceError `invalid-argument` when a word holds a NUL byte
 */
export function quoteArgv(argv: readonly string[]): string {
  return argv.map(quoteShell).join(' ')
}
