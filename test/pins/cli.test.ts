import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { optionName } from '../../src/cli/command.ts'
import { EXIT_CODES } from '../../src/cli/exit-codes.ts'
import { cliReference } from '../../src/cli/reference.ts'
import { loadCommands } from '../../src/cli/verbs.ts'

const commands = await loadCommands()

// Scripts depend on these. Adding is fine; a change or removal is a breaking one and belongs in the changelog.
const SPEC =
  '--image IMAGE --cpu CPUS --memory SIZE --cpu-limit CPUS --memory-limit SIZE --pids-limit COUNT -e --env NAME=VALUE* ' +
  '--secret NAME* --workspace DIR --mount SOURCE:TARGET* -w --workdir DIR -u --user USER --network none --label KEY=VALUE*'
const FLAGS: Readonly<Record<string, string>> = {
  run: `-i --interactive -t --tty --timeout DURATION --on NODE ${SPEC} --json`,
  open: `-n --name NAME --on NODE ${SPEC} --timeout DURATION --max-lifetime DURATION --idle-timeout DURATION --json`,
  exec: '-d --detach -i --interactive -t --tty --timeout DURATION -e --env NAME=VALUE* --secret NAME* -w --workdir DIR -u --user USER --on NODE --json',
  shell: '-e --env NAME=VALUE* -w --workdir DIR -u --user USER --on NODE --json',
  cp: '--on NODE --json',
  sync: '--include PATTERN* --exclude PATTERN* --delete -n --dry-run --on NODE --json',
  port: '--on NODE --json',
  ps: '-q --quiet --on NODE --json',
  logs: '-f --follow --on NODE --json',
  attach: '-i --interactive -t --tty --on NODE --json',
  stats: '--on NODE --json',
  kill: '-s --signal NAME --on NODE --json',
  extend: '--on NODE --json',
  rm: '--on NODE --json',
  gc: '-n --dry-run --on NODE --json',
  'nodes add':
    '--host HOST --port PORT --user USER -k --key KEY -i --identity FILE -J --jump HOST* --workspace DIR --engine ENGINE ' +
    '--accept-new-host-key --ssh-config FILE --connect-timeout DURATION --idle-close DURATION ' +
    '--slot-seccomp FILE --slot-apparmor NAME --default --json',
  'nodes list': '-q --quiet --json',
  'nodes show': '--json',
  'nodes test': '--json',
  'nodes default': '--json',
  'nodes rm': '--json',
  'keys generate': '--type TYPE --comment TEXT --json',
  'keys add': '--passphrase-env NAME --passphrase-file FILE --comment TEXT --json',
  'keys list': '-q --quiet --json',
  'keys show': '-l --fingerprint --json',
  'keys rm': '--json',
  'keys copy-id': '--with KEY --identity FILE -p --ask-password --password-env NAME --password-file FILE --json',
  'hosts trust': '--fingerprint SHA256:… -y --yes --json',
  'hosts list': '--json',
  'hosts rm': '--json',
  'pools up': '--profiles FILE --on NODE --image IMAGE --slots COUNT --min COUNT --max COUNT --secret NAME* --json',
  'pools status': '-w --watch --json',
  'pools exec': '--trajectory ID --timeout DURATION --wait DURATION --secret NAME* --json',
  'pools down': '--json',
  'pools config': '--profiles FILE --json',
  doctor: '--on NODE --json',
  probe: '--workspace DIR --timeout DURATION --on NODE --json',
  completion: '--json',
}

test('the verbs and their options', () => {
  const found = commands.map((command) => [
    command.name,
    Object.entries(command.options)
      .map(([key, option]) => {
        const short = option.short === undefined ? '' : `-${option.short} `
        const value = option.kind === 'flag' ? '' : ` ${option.placeholder}${option.kind === 'list' ? '*' : ''}`
        return `${short}--${optionName(key)}${value}`
      })
      .join(' '),
  ])
  expect(Object.fromEntries(found)).toEqual(FLAGS)
})

test('no verb has one letter for two options, and none takes the help', () => {
  for (const { name, options } of commands) {
    const letters = Object.values(options).flatMap(({ short }) => short ?? [])
    expect([name, new Set(letters).size]).toEqual([name, letters.length])
    expect(letters).not.toContain('h')
    expect(letters).not.toContain('V')
  }
})

test('the exit codes', () => {
  expect(EXIT_CODES.map(([code]) => code)).toEqual(['0', '1-255', '124', '125', '126', '127', '130', '141'])
})

test('docs/cli.md is what the verbs say (else: npm run docs:cli)', () => {
  expect(readFileSync(new URL('../../docs/cli.md', import.meta.url), 'utf8')).toBe(cliReference(commands))
})

test('what is imported before a verb runs: little, and nothing of the library', () => {
  const files = new Set<string>()
  const packages = new Set<string>()
  const visit = (url: URL): void => {
    if (files.has(url.pathname)) return
    files.add(url.pathname)
    const imports = readFileSync(url, 'utf8').matchAll(/^(?:import|export) (?!type )[^'"]*? from '([^']+)'/gm)
    for (const [, name = ''] of imports) {
      if (name.startsWith('.')) visit(new URL(name, url))
      else if (!name.startsWith('node:')) packages.add(name)
    }
  }
  visit(new URL('../../src/cli/main.ts', import.meta.url))
  const rooms = new Set([...files].map((file) => /\/src\/(\w+)\//.exec(file)?.[1]))
  expect(packages).toEqual(new Set(['commander', 'picocolors']))
  expect(rooms).toEqual(new Set(['cli', 'kit', 'spec']))
  expect([...files].filter((file) => file.includes('/commands/'))).toEqual([])
  // Each file costs most of a millisecond; `anyplace --help` has 150.
  expect(files.size).toBeGreaterThan(8)
  expect(files.size).toBeLessThanOrEqual(24)
})
