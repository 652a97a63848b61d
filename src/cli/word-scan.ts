import { optionName } from './command.ts'
import type { AnyCommand, OptionDefinition } from './command.ts'
import { quoteArgv } from '../kit/quote.ts'
import { usageError } from './usage-error.ts'

/** The words of a verb, cut at the first `--`. */
export interface SplitWords {
  readonly own: readonly string[]
  /** Undefined when there is no `--`. */
  readonly behind: readonly string[] | undefined
}

export function splitWords(words: readonly string[]): SplitWords {
  const at = words.indexOf('--')
  return at < 0 ? { own: words, behind: undefined } : { own: words.slice(0, at), behind: words.slice(at + 1) }
}

/** `-h` and `--help` are of every verb. */
const HELP: OptionDefinition = { kind: 'flag', summary: 'show this help', short: 'h' }

function findOption(command: AnyCommand, matches: (name: string, option: OptionDefinition) => boolean) {
  return Object.entries({ ...command.options, help: HELP }).find(([key, option]) =>
    matches(optionName(key), option),
  )?.[1]
}

/** What one word is among a verb's own: a word of its own, an option (with how many words it takes), or unknown. */
function classify(command: AnyCommand, word: string): 'word' | 'flag' | 'takes-next' | 'unknown' {
  if (word === '-' || !word.startsWith('-')) return 'word'
  if (word.startsWith('--')) {
    const [name] = word.slice(2).split('=')
    const option = findOption(command, (candidate) => candidate === name)
    if (option === undefined) return 'unknown'
    return option.kind === 'flag' || word.includes('=') ? 'flag' : 'takes-next'
  }
  for (let index = 1; index < word.length; index++) {
    const option = findOption(command, (_, candidate) => candidate.short === word[index])
    if (option === undefined) return 'unknown'
    if (option.kind !== 'flag') return index === word.length - 1 ? 'takes-next' : 'flag'
  }
  return 'flag'
}

/**
 * Catches the two mistakes that the parser would misread: an option that swallows the next option as its value, and a
 * command without the `--` in front of it.
 *
 * @throws AnyplaceError `invalid-argument`
 */
export function checkWords(command: AnyCommand, split: SplitWords): void {
  const places = Object.keys(command.arguments).length
  let taken = 0
  for (let index = 0; index < split.own.length; index++) {
    const word = split.own[index] ?? ''
    const kind = classify(command, word)
    if (kind === 'unknown') return
    if (kind === 'takes-next') {
      const next = split.own[++index]
      if (next === undefined || (next.length > 1 && next.startsWith('-') && classify(command, next) !== 'unknown')) {
        throw missingValue(word, next)
      }
    }
    if (kind !== 'word') continue
    if (taken === places && command.takesCommand && split.behind === undefined)
      throw missingDashes(command, split.own, index)
    taken++
  }
}

function missingValue(word: string, next: string | undefined): Error {
  return usageError(
    next === undefined ? `${word} needs a value.` : `${word} needs a value, but ${JSON.stringify(next)} is an option.`,
    next === undefined ? undefined : `write ${word}=${next} if that is the value`,
  )
}

function missingDashes(command: AnyCommand, own: readonly string[], index: number): Error {
  const before = ['anyplace', command.name, quoteArgv(own.slice(0, index))].filter(Boolean).join(' ')
  const reason =
    command.name === 'run'
      ? ', because `anyplace run FILE` will mean an app'
      : ', so that its options are not taken for ours'
  return usageError(
    `The command ${JSON.stringify(own[index])} must stand behind "--"${reason}.`,
    `${before} -- ${quoteArgv(own.slice(index))}`,
  )
}
