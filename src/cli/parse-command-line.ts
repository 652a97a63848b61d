import { Command, CommanderError } from 'commander'
import { AnyplaceError } from '../spec/index.ts'
import { addToProgram, newProgram } from './program.ts'
import type { AnyCommand, OptionDefinition, ParseValue, ValueSource } from './command.ts'
import { optionName } from './command.ts'
import { usageError } from './usage-error.ts'
import { ValueFault } from './value-fault.ts'
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
export function parseCommandLine(
  words: readonly string[],
  commands: readonly AnyCommand[],
  context: ParseContext,
): ParsedLine {
  const verb = commands.find((command) => command.name === words[0])
  const split = verb?.takesCommand ? splitWords(words.slice(1)) : { own: words.slice(1), behind: undefined }
  if (verb !== undefined) checkWords(verb, verb.takesCommand ? split : splitWords(words.slice(1)))

  const written: string[] = []
  let found: { positional: readonly unknown[]; values: Readonly<Record<string, unknown>> } | undefined
  const program = newProgram(context.version, context.width, (text) => written.push(text))
  for (const command of commands) {
    addToProgram(program, command, (positional, values) => {
      found = { positional, values }
    })
  }
  const own = words.length === 0 ? ['--help'] : [words[0] ?? '', ...split.own]
  try {
    program.parse(own, { from: 'user' })
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    if (error.exitCode === 0 || error.code === 'commander.help') return { kind: 'text', text: written.join('') }
    throw translate(error, verb, words, commands)
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

/** The parser's own complaint in our words. */
function translate(
  error: CommanderError,
  verb: AnyCommand | undefined,
  words: readonly string[],
  commands: readonly AnyCommand[],
): AnyplaceError {
  const [first = '', suggestion] = error.message.replace(/^error: /, '').split('\n')
  const help = verb === undefined ? 'anyplace --help' : `anyplace ${verb.name} --help`
  const meant = /Did you mean (?:one of )?(.+?)\?\)?$/.exec(suggestion ?? '')?.[1]
  const hint = meant === undefined ? `see: ${help}` : `did you mean ${meant}? see: ${help}`
  const quoted = /'([^']*)'/.exec(first)?.[1] ?? ''
  switch (error.code) {
    case 'commander.unknownCommand':
      return usageError(`There is no verb ${JSON.stringify(quoted)}.`, hint)
    case 'commander.unknownOption': {
      const name = quoted.split('=')[0] ?? quoted
      const elsewhere = verb?.otherOptions?.[name.replace(/^--/, '')]
      if (elsewhere !== undefined) return usageError(`anyplace ${verb?.name ?? ''} has no option ${name}.`, elsewhere)
      if (verb !== undefined) return usageError(`anyplace ${verb.name} has no option ${name}.`, hint)
      const isOfVerbs = commands.some((command) =>
        Object.keys(command.options).some((key) => `--${optionName(key)}` === name),
      )
      const first_ = words.find((word) => commands.some((command) => command.name === word)) ?? 'VERB'
      return usageError(
        isOfVerbs ? `The option ${name} belongs behind the verb.` : `anyplace has no option ${name}.`,
        isOfVerbs ? `anyplace ${first_} ${name} …` : hint,
      )
    }
    case 'commander.missingArgument': {
      const placeholder = quoted.toUpperCase()
      const example = verb?.examples[0]
      return usageError(
        `anyplace ${verb?.name ?? ''} needs ${placeholder}.`,
        example === undefined ? `see: ${help}` : `for example: ${example.command}`,
        placeholder,
      )
    }
    case 'commander.excessArguments': {
      const count = verb === undefined ? 0 : Object.keys(verb.arguments).length
      const allowed = count === 0 ? 'no arguments' : count === 1 ? 'one argument' : `${count} arguments`
      return usageError(`anyplace ${verb?.name ?? ''} takes ${allowed}, but more were given.`, `see: ${help}`)
    }
    default:
      return usageError(`${first.slice(0, 1).toUpperCase()}${first.slice(1)}${first.endsWith('.') ? '' : '.'}`, hint)
  }
}
