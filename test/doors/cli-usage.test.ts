import { describe, expect, test } from 'vitest'
import { headsOf, topHeads, verbGroups } from '../../src/cli/verb-heads.ts'
import { loadCommands } from '../../src/cli/verbs.ts'
import { callCli } from '../support/call-cli.ts'

/** Nothing here may get as far as the library. */
const api = new Proxy(
  {},
  {
    get: (_, name) =>
      name === 'then'
        ? undefined
        : () => {
            throw new Error(`the library's ${String(name)} was called`)
          },
  },
)

const commands = await loadCommands()

describe('help', () => {
  test('anyplace alone, --help, -h and help print the same help and end with 0', async () => {
    const [alone, ...others] = await Promise.all(
      [[], ['--help'], ['-h'], ['help']].map((words) => callCli(words, { api })),
    )
    expect(alone).toMatchObject({ code: 0, err: '' })
    for (const other of others) expect(other).toEqual(alone)
    for (const { name, summary } of topHeads())
      expect(alone?.out).toMatch(new RegExp(`\\n  ${name} .*${summary.slice(0, 12)}`))
    expect(alone?.out.indexOf('\nRun:')).toBeLessThan(alone?.out.indexOf('\nSetup:') ?? 0)
    expect(alone?.out).toContain('125    anyplace itself failed')
  })

  test.each(commands.map((command) => [command.name, command] as const))('%s has its own', async (name, command) => {
    const words = name.split(' ')
    const help = await callCli([...words, '--help'], { api })
    expect(help).toMatchObject({ code: 0, err: '' })
    expect(help.out).toContain(`Usage: anyplace ${name} [options]${command.usage ? ` ${command.usage}` : ''}\n`)
    expect(command.examples.length).toBeGreaterThan(0)
    for (const example of command.examples) expect(help.out).toContain(example.command)
    expect(help.out).toContain('--json')
    expect(await callCli(['help', ...words], { api })).toEqual(help)
    if (command.takesCommand) expect(await callCli([...words, '-h', '--', 'ls'], { api })).toEqual(help)
  })

  test.each(Object.keys(verbGroups))('the group %s lists its verbs', async (group) => {
    const help = await callCli([group], { api })
    expect(help).toMatchObject({ code: 0, err: '' })
    for (const words of [
      ['help', group],
      [group, '--help'],
      [group, '-h'],
    ]) {
      expect(await callCli(words, { api })).toEqual(help)
    }
    expect(headsOf(group).length).toBeGreaterThan(1)
    for (const { name, summary } of headsOf(group)) {
      expect(help.out).toMatch(new RegExp(`\\n  ${name.slice(group.length + 1)} .*${summary.slice(0, 12)}`))
    }
  })

  test.each(commands.map((command) => [command.name, command] as const))(
    'the usage of %s names its arguments in order',
    (_, command) => {
      const places = Object.values(command.arguments).map(({ placeholder, presence }) =>
        presence === 'optional' ? `[${placeholder}]` : presence === 'one-or-more' ? `${placeholder}…` : placeholder,
      )
      expect(command.usage).toBe([...places, ...(command.takesCommand ? ['-- CMD [ARG…]'] : [])].join(' '))
    },
  )

  test('the version', async () => {
    expect(await callCli(['--version'], { api })).toEqual({ code: 0, out: '1.2.3\n', err: '' })
    expect(await callCli(['-V'], { api })).toEqual({ code: 0, out: '1.2.3\n', err: '' })
  })
})

/** What people type, and the first thing that each message and hint must say. */
const MISTAKES: readonly (readonly [line: readonly string[], message: string, hint: string])[] = [
  [['run', 'ls', '-la'], '"ls" must stand behind "--"', 'anyplace run -- ls -la'],
  [
    ['run', '--timeout', '5s', 'python3', '-c', 'print(1)'],
    '"python3" must stand',
    "anyplace run --timeout 5s -- python3 -c 'print(1)'",
  ],
  [['run', 'app.ts'], 'because `anyplace run FILE` will mean an app', 'anyplace run -- app.ts'],
  [['exec', 'box', 'ls'], '"ls" must stand behind "--"', 'anyplace exec box -- ls'],
  [['run'], 'needs a command behind "--"', 'for example: anyplace run -- '],
  [['run', '--'], 'no command behind "--"', 'for example: anyplace run -- '],
  [['exec', 'box', '--'], 'no command behind "--"', 'for example: anyplace exec '],
  [['exec', '--', 'ls'], 'needs SANDBOX', 'for example: anyplace exec '],
  [['exec', 'a', 'b', '--', 'ls'], 'takes one argument', 'anyplace exec --help'],
  [['runn'], 'no verb "runn"', 'did you mean run?'],
  [['runn', '--help'], 'no verb "runn"', 'did you mean run?'],
  [['help', 'runn'], 'no verb "runn"', 'did you mean run?'],
  [['zzz'], 'no verb "zzz"', 'anyplace --help'],
  [['__proto__'], 'no verb "__proto__"', 'anyplace --help'],
  [['toString', '--help'], 'no verb "toString"', 'anyplace --help'],
  [['--image', 'x', 'run'], 'belongs behind the verb', 'anyplace run --image'],
  [['--nonsense'], 'no option --nonsense', 'anyplace --help'],
  [['ps', '--quite'], 'ps has no option --quite', 'did you mean --quiet?'],
  [['open', '--memroy', '1GiB'], 'no option --memroy', 'did you mean --memory?'],
  [['open', '--memroy=1GiB'], 'no option --memroy', 'did you mean --memory?'],
  [['ps', '-z'], 'no option -z', 'anyplace ps --help'],
  [['ps', 'a', 'b'], 'takes one argument', 'anyplace ps --help'],
  [['gc', 'a'], 'takes no arguments', 'anyplace gc --help'],
  [['run', '--name', 'x', '--', 'ls'], 'run has no option --name', 'anyplace open --name'],
  [['exec', '--image', 'x', 'box', '--', 'ls'], 'exec has no option --image', 'anyplace open --image'],
  [['rm', '--force', 'box'], 'no option --force', 'always ends what runs'],
  [['open', '--gpu', '1'], 'no option --gpu', 'open({ gpu'],
  [['open', '--name'], '--name needs a value', ''],
  [['open', '--name', '--on'], '--name needs a value, but "--on" is an option', 'write --name=--on'],
  [['run', '-e', '-i', '--', 'env'], '-e needs a value, but "-i" is an option', ''],
  [['run', '-ie', '--', 'env'], '-ie needs a value', ''],
  [['open', '--name', ''], '--name: "" is empty', '--name some text'],
  [['open', '--memory', '512'], '--memory: "512" has no unit', '--memory 512MiB'],
  [['open', '--memory-limit', '2GB'], '--memory-limit: "2GB"', '--memory-limit 2GiB'],
  [['open', '--memory', '-1GiB'], '--memory: "-1GiB" is not a size', '--memory 512MiB'],
  [['open', '--cpu', 'two'], '--cpu: "two" is not a number', '--cpu 0.5'],
  [['open', '--timeout', '30'], '--timeout: "30" has no unit', '--timeout 30s'],
  [['open', '--idle-timeout', 'soon'], '--idle-timeout: "soon"', '--idle-timeout 30s'],
  [['open', '--network', 'host'], '--network: "host"', '--network none'],
  [['open', '--mount', 'data'], '--mount: "data"', '--mount ./data:/data'],
  [['open', '--env', '=x'], '--env: the name is missing', '--env NAME=value'],
  [['open', '--env', 'UNSET'], '--env: "UNSET" is not set', '--env UNSET=value'],
  [['open', '-e', 'A=1', '-e', 'A=2'], '--env gives "A" twice', 'keep the one'],
  [['open', '--secret', 'A=1'], '--secret: takes a name only', '--secret A'],
  [['open', '--secret', 'UNSET'], '--secret: "UNSET" is not set', 'export UNSET='],
  [['open', '--name', 'a\0b'], '--name holds a NUL', ''],
  [['port', 'box', 'http'], 'LOCAL:REMOTE: "http"', '8080:80'],
  [['port', 'box'], 'needs LOCAL:REMOTE', 'for example: anyplace port'],
  [['extend', 'box', '5'], 'DURATION: "5" has no unit', '5s'],
  [['kill', 'box'], 'needs PROCESS', 'for example: anyplace kill'],
  [['kill', '-s', '9', 'box', 'p1'], `--signal: "9" is not a signal's name`, '--signal TERM'],
  [['logs', 'box'], 'needs PROCESS', 'for example: anyplace logs'],
  [['rm'], 'needs SANDBOX', 'for example: anyplace rm'],
  [['cp', 'a', 'b'], 'One side must be SANDBOX:PATH', 'anyplace cp a SANDBOX:b'],
  [['cp', 'x:a', 'y:b'], 'One side must be a local path', 'copy it here first'],
  [['cp', '-', 'x:a'], 'cp does not read stdin', 'anyplace exec -i'],
  [['completion'], 'needs SHELL', 'for example: anyplace completion bash'],
  [['completion', 'tcsh'], 'SHELL is one of bash, zsh, fish (got "tcsh")', 'anyplace completion bash'],
  [['keys', 'lst'], 'no verb "keys lst"', 'did you mean list?'],
  [['keys', 'zzz', '--help'], 'no verb "keys zzz"', 'anyplace keys --help'],
  [['help', 'keys', 'zzz'], 'no verb "keys zzz"', 'anyplace keys --help'],
  [['keys', '--zzz'], 'keys has no option --zzz', 'anyplace keys --help'],
  [['keys', 'generate'], 'keys generate needs NAME', 'for example: anyplace keys generate'],
  [['keys', 'generate', 'a', '--type', 'dsa'], '--type: "dsa"', '--type ed25519'],
  [['keys', 'add', 'a', 'f', '--passphrase', 'x'], 'no option --passphrase', 'others can read arguments'],
  [['keys', 'add', 'a', 'f', '--passphrase-env', 'X', '--passphrase-file', 'f'], 'both given', 'keep one'],
  [['keys', 'add', 'a', 'f', '--passphrase-env', 'UNSET'], '"UNSET" is not set', 'export UNSET'],
  [['keys', 'copy-id', 'a', 'h', '--password', 'x'], 'no option --password', 'others can read arguments'],
  [['keys', 'copy-id', 'a', 'h', '-p'], 'A terminal is needed', '--password-env'],
  [['keys', 'rm', 'a', '--force'], 'no option --force', 'remove the node'],
  [['hosts', 'trust'], 'needs HOST', 'for example: anyplace hosts trust'],
  [['hosts', 'trust', 'h', '--yes', '--fingerprint', 'x'], 'both given', 'keep --fingerprint'],
  [['nodes', 'add', 'a', '--port', '0'], '--port: "0"', '--port 22'],
  [['nodes', 'add', 'a', '--key', 'k'], 'has no key', '--host HOST'],
  [['nodes', 'add', 'a', '--password', 'k'], 'no option --password', 'copy-id'],
  [['shell', 'box'], 'A terminal is needed, but stdin is not one', 'anyplace exec'],
  [['run', '-t', '--', 'top'], 'A terminal is needed', 'anyplace exec'],
  [['exec', '-it', 'box', '--', 'top'], 'A terminal is needed', 'anyplace exec'],
  [['attach', '-t', 'box', 'p1'], 'A terminal is needed', 'anyplace exec'],
  [['exec', '-d', '-i', 'box', '--', 'cat'], '--detach leaves nobody to type', 'leave one'],
]

describe('mistakes', () => {
  test.each(MISTAKES)('%j', async (words, message, hint) => {
    const call = await callCli(words, { api })
    expect(call.code).toBe(125)
    expect(call.out).toBe('')
    const [first, second = ''] = call.err.split('\n')
    expect(first).toMatch(/^anyplace: invalid-argument: /)
    expect(first).toContain(message)
    expect(second.startsWith('  hint: ')).toBe(hint !== '' || second !== '')
    expect(second).toContain(hint)
  })

  const lengthOf = (words: readonly string[]): number =>
    [1, 2].find((count) => commands.some(({ name }) => name === words.slice(0, count).join(' '))) ?? 0
  test.each(MISTAKES.filter(([words]) => lengthOf(words) > 0))(
    '%j with --json is one object on stdout',
    async (words, message) => {
      const length = lengthOf(words)
      const call = await callCli([...words.slice(0, length), '--json', ...words.slice(length)], { api })
      expect(call.code).toBe(125)
      expect(call.err).toBe('')
      expect(call.out.endsWith('\n')).toBe(true)
      const { source, error } = JSON.parse(call.out) as { source: string; error: Record<string, unknown> }
      expect(source).toBe('anyplace')
      expect(error).toMatchObject({ code: 'invalid-argument', retryable: false })
      // The hint repeats the line, which now has --json in it.
      expect(String(error['message'])).toContain(message)
      expect(error).toHaveProperty('hint')
    },
  )

  test('--json behind "--" is the command’s', async () => {
    const call = await callCli(['exec', '--', 'tool', '--json'], { api })
    expect(call).toMatchObject({ code: 125, out: '' })
  })

  test('nothing of a message steers the terminal', async () => {
    const call = await callCli(['open', '--on', 'x', '\u001B[2J\u0007'], { api })
    expect(call.err).not.toContain('\u001B')
    const verb = await callCli(['\u001B[2J'], { api })
    expect(verb.err).not.toContain('\u001B')
  })

  test('colours only on a terminal, and never with NO_COLOR', async () => {
    const escape = '\u001B['
    expect((await callCli(['zzz'], { api })).err).not.toContain(escape)
    expect((await callCli(['zzz'], { api, terminal: true })).err).toContain(escape)
    expect((await callCli(['zzz'], { api, terminal: true, env: { NO_COLOR: '1' } })).err).not.toContain(escape)
    expect((await callCli(['zzz'], { api, terminal: true, env: { TERM: 'dumb' } })).err).not.toContain(escape)
  })
})
