import type { AnyCommand, OptionDefinition } from './command.ts'
import { optionName } from './command.ts'
import { EXIT_CODES } from './exit-codes.ts'

/** docs/cli.md, made of the same data as the parser. */
export function cliReference(commands: readonly AnyCommand[]): string {
  const groups = [...new Set(commands.map(({ group }) => group))]
  return (
    [
      '# The command line',
      'Made by `npm run docs:cli` from the definitions of the verbs in `src/cli/commands`; edit those.',
      INTRODUCTION,
      '## Verbs',
      ...groups.map((group) => {
        const rows = commands.filter((command) => command.group === group)
        return table(
          [group, ''],
          rows.map(({ name, summary }) => [`[\`${name}\`](#${name.replaceAll(' ', '-')})`, summary]),
        )
      }),
      '## Exit codes',
      table(
        ['code', 'meaning'],
        EXIT_CODES.map(([code, meaning]) => [code, meaning]),
      ),
      'Wrong arguments are 125 too. Where a number could be either, `--json` tells: `source` is `command` or `anyplace`.',
      JSON_OUTPUT,
      ...commands.map(verb),
    ].join('\n\n') + '\n'
  )
}

const INTRODUCTION = `Values: durations are \`500ms\`, \`30s\`, \`5m\`, \`1h30m\`, \`2d\`; sizes are \`512MiB\` or \`2GiB\` (powers of 1024; \`512M\` is the same).
A number without a unit is refused. A value that begins with a dash is written \`--option=-value\`. The command of \`run\` and
\`exec\` stands behind \`--\` and reaches the program byte for byte. The sandbox reads end of file from stdin unless \`-i\` is given.
\`ANYPLACE_ON\` is the default of \`--on\`. Colours and progress appear only when stderr is a terminal; \`NO_COLOR\` turns colours off.
\`ANYPLACE_DEBUG=1\` adds a stack trace to a failure.`

const JSON_OUTPUT = `## JSON

Every verb takes \`--json\`. It then prints exactly one JSON object on stdout and nothing on stderr (progress aside, which only a
terminal sees). \`logs -f\` and \`attach\` print one object a line instead.

- \`source\` is \`command\` when the object tells how a command ended, and \`anyplace\` for everything else.
- A failure of Anyplace's own is \`{ "source": "anyplace", "error": { "code", "message", "hint", "retryable" } }\`; \`hint\` may be
  null, and \`field\` and \`data\` are there when the error has them.
- \`run\` and \`exec\` give \`exitCode\`, \`signal\`, \`timedOut\`, \`oomKilled\`, \`durationMs\`, \`stdout\`, \`stderr\`, \`truncated\` (beyond 10 MiB
  a stream keeps its tail), \`sandbox\` and \`processId\`. Bytes that are not UTF-8 come as \`stdoutBase64\` and \`stderrBase64\`, which are
  exact, beside the text.
- The lines of \`logs -f\` and \`attach\` are \`{ "type": "output", "stream", "offset", "data" }\` (\`dataBase64\` for bytes) and, at the
  end, \`{ "type": "exit", "exitCode", … }\`.
- Times are ISO 8601; fields may be added, never renamed.`

function verb(command: AnyCommand): string {
  const options = [...Object.entries(command.options), ['help', HELP] as const]
  const places = Object.values(command.arguments)
  return [
    `## ${command.name}`,
    `\`\`\`\nanyplace ${command.name} [options]${command.usage ? ` ${command.usage}` : ''}\n\`\`\``,
    `${command.summary.slice(0, 1).toUpperCase()}${command.summary.slice(1)}.${command.details ? ` ${command.details}` : ''}`,
    ...(places.length === 0
      ? []
      : [
          table(
            ['argument', ''],
            places.map(({ placeholder, summary }) => [`\`${placeholder}\``, summary]),
          ),
        ]),
    table(
      ['option', ''],
      options.map(([key, option]) => [`\`${flags(key, option)}\``, optionSummary(option)]),
    ),
    `\`\`\`sh\n${command.examples.map(({ command: line, summary }) => `${line}   # ${summary}`).join('\n')}\n\`\`\``,
  ].join('\n\n')
}

const HELP: OptionDefinition = { kind: 'flag', summary: 'show the help', short: 'h' }

function flags(key: string, option: OptionDefinition): string {
  const long = `--${optionName(key)}${option.kind === 'flag' ? '' : ` ${option.placeholder}`}`
  return option.short === undefined ? long : `-${option.short}, ${long}`
}

function optionSummary(option: OptionDefinition): string {
  return option.kind === 'list' ? `${option.summary}; may be given several times` : option.summary
}

function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  return [line(header), line(header.map(() => '---')), ...rows.map(line)].join('\n')
}
