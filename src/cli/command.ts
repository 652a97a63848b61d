import type { CliApi } from './api.ts'
import type { CliIo } from './cli-io.ts'
import type { Reporter } from './reporter.ts'

/** What a value is read from beside its own text. */
export interface ValueSource {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly cwd: string
}

export type ParseValue<Value> = (text: string, source: ValueSource) => Value

/** What every option has. */
export interface OptionText {
  readonly summary: string
  /** One letter. */
  readonly short?: string
}

/** An option as data. Its name is the key it stands under, in kebab-case. */
export type OptionDefinition<Value = unknown> = OptionText &
  (
    | { readonly kind: 'flag' }
    | { readonly kind: 'value'; readonly placeholder: string; readonly parse: ParseValue<Value> }
    | { readonly kind: 'list'; readonly placeholder: string; readonly parse: ParseValue<Value> }
  )

export type FlagOption = OptionText & { readonly kind: 'flag' }
export type ValueOption<Value> = OptionText & {
  readonly kind: 'value'
  readonly placeholder: string
  readonly parse: ParseValue<Value>
}
export type ListOption<Value> = OptionText & {
  readonly kind: 'list'
  readonly placeholder: string
  readonly parse: ParseValue<Value>
}

/** An option without a value. */
export function flag(summary: string, short?: string): FlagOption {
  return { kind: 'flag', summary, ...(short === undefined ? {} : { short }) }
}

/** An option with one value. */
export function value<Value>(
  placeholder: string,
  summary: string,
  parse: ParseValue<Value>,
  short?: string,
): ValueOption<Value> {
  return { kind: 'value', placeholder, summary, parse, ...(short === undefined ? {} : { short }) }
}

/** An option that may be given several times. */
export function list<Value>(
  placeholder: string,
  summary: string,
  parse: ParseValue<Value>,
  short?: string,
): ListOption<Value> {
  return { kind: 'list', placeholder, summary, parse, ...(short === undefined ? {} : { short }) }
}

/** A positional argument as data. */
export interface ArgumentDefinition {
  readonly placeholder: string
  readonly summary: string
  readonly presence: 'required' | 'optional' | 'one-or-more'
  readonly choices?: readonly string[]
  /** @default the text as it is */
  readonly parse?: ParseValue<unknown>
}

type OptionValues<Options> = {
  readonly [Key in keyof Options]: Options[Key] extends FlagOption
    ? boolean
    : Options[Key] extends ValueOption<infer Value>
      ? Value | undefined
      : Options[Key] extends ListOption<infer Value>
        ? readonly Value[]
        : never
}

type ArgumentValues<Arguments extends Readonly<Record<string, ArgumentDefinition>>> = {
  readonly [Key in keyof Arguments]: Arguments[Key]['presence'] extends 'one-or-more'
    ? readonly string[]
    : Arguments[Key] extends { readonly parse: ParseValue<infer Value> }
      ? Value
      : Arguments[Key]['presence'] extends 'optional'
        ? string | undefined
        : string
}

/** What a command gets to work with. */
export interface CommandContext<Arguments, Options> {
  readonly arguments: Arguments
  readonly options: Options
  /** The words behind `--`; empty for verbs that take no command. */
  readonly argv: readonly string[]
  readonly io: CliIo
  readonly reporter: Reporter
  /** Loads the library. Nothing heavy is imported before this. */
  api(): Promise<CliApi>
}

export type CommandGroup = 'Run' | 'Watch' | 'Manage' | 'Setup'

/** One line to type and what it does. */
export interface Example {
  readonly command: string
  readonly summary: string
}

/** What the list of verbs says of one. */
export interface CommandHead {
  readonly name: string
  readonly group: CommandGroup
  readonly summary: string
  /** Its arguments in one line, without the options. */
  readonly usage: string
}

interface CommandText extends CommandHead {
  /** A paragraph or two behind the summary, in the help and in the documentation. */
  readonly details?: string
  readonly examples: readonly Example[]
  /** Takes a command behind `--`. */
  readonly takesCommand?: boolean
  /** Options that people try here and the answer to each. */
  readonly otherOptions?: Readonly<Record<string, string>>
}

/** A command without its types, as the parser, the help, the completion and the documentation see it. */
export interface AnyCommand extends CommandText {
  readonly arguments: Readonly<Record<string, ArgumentDefinition>>
  readonly options: Readonly<Record<string, OptionDefinition>>
  /** Gives the exit code; 0 when it gives none. */
  run(
    context: CommandContext<Readonly<Record<string, unknown>>, Readonly<Record<string, unknown>>>,
  ): Promise<number | void>
}

/** A verb as data: the parser, the help, the completion and the documentation are derived from it. */
export function defineCommand<
  const Arguments extends Readonly<Record<string, ArgumentDefinition>>,
  Options extends Readonly<Record<string, OptionDefinition>>,
>(
  command: CommandText & {
    readonly arguments: Arguments
    readonly options: Options
    readonly run: (context: CommandContext<ArgumentValues<Arguments>, OptionValues<Options>>) => Promise<number | void>
  },
): AnyCommand {
  // The parser fills arguments and options from these very definitions, so the types hold.
  return command as unknown as AnyCommand
}

/** `cpuLimit` → `cpu-limit`. */
export function optionName(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
}
