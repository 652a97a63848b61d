import { Argument, Command, Option } from 'commander'
import type { AnyCommand, ArgumentDefinition, CommandHead, OptionDefinition } from './command.ts'
import { optionName } from './command.ts'
import { EXIT_CODES } from './exit-codes.ts'

/** The root command, which never ends the process and writes to `write` only. */
export function newProgram(version: string, width: number, write: (text: string) => void): Command {
  return new Command('anyplace')
    .description('Run commands, files and services on any compute you have.')
    .usage('VERB [options]')
    .version(version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'show this help')
    .addHelpCommand(new Command('help').argument('[verb]').summary('show the help of a verb').helpGroup('Setup:'))
    .exitOverride()
    .configureOutput({
      writeOut: write,
      writeErr: write,
      // The error is translated by whoever called parse.
      outputError: () => undefined,
      getOutHelpWidth: () => width,
      getErrHelpWidth: () => width,
    })
    .configureHelp({
      subcommandTerm: (command) => [command.name(), command.usage().replace('[options]', '').trim()].join(' '),
    })
    .showSuggestionAfterError(true)
    .enablePositionalOptions()
    .addHelpText(
      'after',
      `\nExamples:\n${START}\nExit codes:\n${exitCodeLines()}\n\nEach verb has its own help with examples: anyplace run --help\n`,
    )
}

const START = [
  "  anyplace run -- python3 -c 'print(6 * 7)'   # a fresh sandbox, then gone",
  '  anyplace open --name work                   # one that stays',
  '  anyplace exec work -- ls -la                # a command in it',
  '  anyplace doctor                             # what works on this machine',
  '',
].join('\n')

function exitCodeLines(): string {
  return EXIT_CODES.map(([code, meaning]) => `  ${code.padEnd(6)} ${meaning}`).join('\n')
}

/** Adds a verb of which only the list of verbs is needed. */
export function addHead(program: Command, head: CommandHead): Command {
  return program
    .command(head.name.slice(head.name.lastIndexOf(' ') + 1))
    .summary(head.summary)
    .usage(`[options] ${head.usage}`.trim())
    .helpGroup(`${head.group}:`)
}

/** Adds a group, which has no other purpose than its verbs. */
export function addGroup(program: Command, head: CommandHead): Command {
  return program
    .command(head.name)
    .description(`${capital(head.summary)}.`)
    .usage('VERB [options]')
    .helpOption('-h, --help', 'show this help')
    .helpCommand(false)
    .addHelpText(
      'after',
      `\nEach verb has its own help with examples: anyplace ${head.name} ${head.usage.split('|')[0]} --help\n`,
    )
}

/** Adds a whole verb. `found` is called instead of running it. */
export function addCommand(
  program: Command,
  definition: AnyCommand,
  found: (positional: readonly unknown[], values: Readonly<Record<string, unknown>>) => void,
): void {
  const command = addHead(program, definition)
    .description([`${capital(definition.summary)}.`, definition.details].filter(Boolean).join('\n\n'))
    .helpOption('-h, --help', 'show this help')
    .addHelpText('after', `\nExamples:\n${exampleLines(definition)}`)
  for (const argument of Object.values(definition.arguments)) {
    command.addArgument(new Argument(argumentPattern(argument), argument.summary))
  }
  for (const [key, option] of Object.entries(definition.options)) {
    const added = new Option(optionFlags(key, option), option.summary)
    if (option.kind === 'list') {
      added.argParser((text: string, earlier: unknown) => [...(Array.isArray(earlier) ? earlier : []), text])
    }
    command.addOption(added)
  }
  command.action(() => found(command.processedArgs, command.opts()))
}

/** `-e, --env <NAME=VALUE>` */
export function optionFlags(key: string, option: OptionDefinition): string {
  const long = `--${optionName(key)}${option.kind === 'flag' ? '' : ` <${option.placeholder}>`}`
  return option.short === undefined ? long : `-${option.short}, ${long}`
}

function argumentPattern({ placeholder, presence }: ArgumentDefinition): string {
  if (presence === 'optional') return `[${placeholder}]`
  return presence === 'one-or-more' ? `<${placeholder}...>` : `<${placeholder}>`
}

function exampleLines(definition: AnyCommand): string {
  return definition.examples.map(({ command, summary }) => `  # ${summary}\n  ${command}\n`).join('')
}

function capital(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1)
}
