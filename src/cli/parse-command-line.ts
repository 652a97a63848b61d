import { CommanderError } from 'commander'
import type { Command } from 'commander'
import { addCommand, addGroup, addHead, newProgram } from './program.ts'
import type { AnyCommand, CommandHead, OptionDefinition, ParseValue, ValueSource } from './command.ts'
import { optionName } from './command.ts'
import { usageError } from './usage-error.ts'
import { ValueFault } from './value-fault.ts'
import { groupNamed, headsOf, topHeads } from './verb-heads.ts'
import { loadCommand, verbLength } from './verbs.ts'
import { checkWords, splitWords } from './word-scan.ts'

export type ParsedLine =
  | { readonly kind: 'text'; readonly text: string }
  | {
      readonly kind: 'command'
      readonly command: AnyCommand
      readonly arguments: Readonly<Record<string, unknown>>
      readonly options: Readonly<Record<string, unknown>>
      readonly argv: readonly string[]
    }

export interface ParseContext extends ValueSource {
  readonly version: string
  /** Columns of the help. */
  readonly width: number
}

/**
 * What the words after `anyplace` ask for.
 *
 * @throws AnyplaceError `invalid-argument` for everything that is not understood, with what to type instead
 */
export async function parseCommandLine(given: readonly string[], context: ParseContext): Promise<ParsedLine> {
  // `help VERB` is `VERB --help`.
  const words = given[0] === 'help' ? [...given.slice(1, groupNamed(given[1]) ? 3 : 2), '--help'] : given
  const name = words.slice(0, verbLength(words))
  const verb = await loadCommand(name.join(' '))
  const group = groupNamed(words[0])
  const split = splitWords(words.slice(name.length))
  if (verb !== undefined) checkWords(verb, split)

  const written: string[] = []
  let found: { positional: readonly unknown[]; values: Readonly<Record<string, unknown>> } | undefined
  const program = newProgram(context.version, context.width, (text) => written.push(text))
  const add = (parent: Command, head: CommandHead): void => {
    if (head.name !== verb?.name) addHead(parent, head)
    else addCommand(parent, verb, (positional, values) => void (found = { positional, values }))
  }
  for (const head of topHeads()) {
    if (head.name !== group?.name) add(program, head)
    else {
      const parent = addGroup(program, head)
      for (const inner of headsOf(head.name)) add(parent, inner)
    }
  }
  const own = verb === undefined ? unknownWords(words, group) : verb.takesCommand ? [...name, ...split.own] : words
  try {
    program.parse(own, { from: 'user' })
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    if (error.exitCode === 0 || error.code === 'commander.help') return { kind: 'text', text: written.join('') }
    const { inOurWords } = await import('./parser-complaint.ts')
    throw await inOurWords(error, verb, words, group?.name)
  }
  if (found === undefined || verb === undefined) return { kind: 'text', text: written.join('') }
  return {
    kind: 'command',
    command: verb,
    arguments: parseArguments(verb, found.positional, context),
    options: parseOptions(verb, found.values, context),
    argv: commandWords(verb, split.behind),
  }
}

/** What the parser is given when the words name no verb: a question for help, or no more than what shows the mistake. */
function unknownWords(words: readonly string[], group: CommandHead | undefined): readonly string[] {
  const known = group === undefined ? 0 : 1
  if (words.length === known) return [...words, '--help']
  // Also with --help behind it, an unknown verb is a mistake.
  return words[known]?.startsWith('-') ? words : words.slice(0, known + 1)
}

function commandWords(command: AnyCommand, behind: readonly string[] | undefined): readonly string[] {
  if (!command.takesCommand) return []
  if (behind !== undefined && behind.length > 0) return behind
  throw usageError(
    behind === undefined ? `anyplace ${command.name} needs a command behind "--".` : 'There is no command behind "--".',
    command.examples[0] === undefined ? undefined : `for example: ${command.examples[0].command}`,
  )
}

function parseArguments(
  command: AnyCommand,
  positional: readonly unknown[],
  source: ValueSource,
): Readonly<Record<string, unknown>> {
  return Object.fromEntries(
    Object.entries(command.arguments).map(([key, definition], index) => {
      const given = positional[index]
      if (typeof given === 'string' && definition.choices && !definition.choices.includes(given)) {
        throw usageError(
          `${definition.placeholder} is one of ${definition.choices.join(', ')} (got ${JSON.stringify(given)}).`,
          `for example: anyplace ${command.name} ${definition.choices[0] ?? ''}`,
          definition.placeholder,
        )
      }
      const parse = definition.parse
      return [key, typeof given === 'string' && parse ? parseOne(definition.placeholder, given, parse, source) : given]
    }),
  )
}

function parseOptions(
  command: AnyCommand,
  values: Readonly<Record<string, unknown>>,
  source: ValueSource,
): Readonly<Record<string, unknown>> {
  return Object.fromEntries(
    Object.entries(command.options).map(([key, option]) => [
      key,
      parseOption(optionName(key), option, values[key], source),
    ]),
  )
}

function parseOption(name: string, option: OptionDefinition, given: unknown, source: ValueSource): unknown {
  if (option.kind === 'flag') return given === true
  if (option.kind === 'list') {
    return (Array.isArray(given) ? given : []).map((text) => parseOne(`--${name}`, String(text), option.parse, source))
  }
  return typeof given === 'string' ? parseOne(`--${name}`, given, option.parse, source) : undefined
}

function parseOne(name: string, text: string, parse: ParseValue<unknown>, source: ValueSource): unknown {
  if (text.includes('\0')) throw usageError(`${name} holds a NUL character.`, undefined, name)
  try {
    return parse(text, source)
  } catch (error) {
    if (!(error instanceof ValueFault)) throw error
    const equals = name.startsWith('--') ? `${name} ${error.example}` : error.example
    throw usageError(`${name}: ${error.message}.`, `for example ${equals}`, name)
  }
}
