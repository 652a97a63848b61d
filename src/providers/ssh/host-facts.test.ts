import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { quoteShell } from '../../kit/quote.ts'
import { FIELDS, parseFacts } from './host-facts.ts'
import { MARK } from './host-script.ts'
import type { SshTarget } from './ssh-target.ts'

const home = realpathSync(mkdtempSync(join(tmpdir(), 'anyplace-host-script-')))
afterAll(() => rmSync(home, { recursive: true, force: true }))
const SCRIPT = readFileSync(new URL('./host-script.sh', import.meta.url), 'utf8')
const TARGET: SshTarget = { name: 'box', host: 'box', identity: { kind: 'config' } }

/** What the script says here, in a shell that knows nothing but this environment; `before` is run first. */
function told(workspace: string, env: Record<string, string> = {}, before: readonly string[] = []): string[] {
  const script = `workspace=${quoteShell(workspace)}\n${SCRIPT}`
  const output = execFileSync('/usr/bin/env', [...before, '/bin/sh', '-s'], {
    input: script,
    env: { HOME: home, PATH: '/usr/local/bin:/usr/bin:/bin', ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
  }).toString()
  return output.slice(output.indexOf(MARK) + MARK.length).split('\0')
}

test('what the script says is what is read: as many fields, and the facts of this machine', () => {
  const fields = told('~/a b', { DOCKER_HOST: 'unix:///x y', XDG_RUNTIME_DIR: '/run/user/7' })
  expect(fields.length).toBe(FIELDS + 1)
  expect(parseFacts(TARGET, 'box', fields)).toMatchObject({
    platform: 'linux',
    architecture: process.arch,
    hostname: hostname(),
    bootId: readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim(),
    uid: process.getuid?.(),
    gid: process.getgid?.(),
    homeDirectory: home,
    stateDirectory: `${home}/a b`,
    engineEnv: { DOCKER_HOST: 'unix:///x y', XDG_RUNTIME_DIR: '/run/user/7' },
    python: expect.stringMatching(/\/python3(\.\d+)?$/) as string,
  })
})

test.each([
  ['~', ''],
  ['~/deep/er', '/deep/er'],
  ['relative', '/relative'],
  ["it's $HOME `x`", "/it's $HOME `x`"],
  ['-n', '/-n'],
])('workspace %j', (workspace, below) => {
  expect(parseFacts(TARGET, 'box', told(workspace)).stateDirectory).toBe(`${home}${below}`)
})

test('a workspace that cannot be made', () => {
  writeFileSync(join(home, 'file'), '')
  const read = (workspace: string) => () => parseFacts(TARGET, 'box', told(workspace))
  expect(read('file')).toThrowError(expect.objectContaining({ code: 'not-a-directory' }) as Error)
  expect(read('file/below')).toThrowError(expect.objectContaining({ code: 'not-a-directory' }) as Error)
  expect(read('/proc/nowhere')).toThrowError(expect.objectContaining({ data: expect.anything() as object }) as Error)
})

test('a host without Python', () => {
  const bin = join(home, 'bin')
  mkdirSync(bin)
  const fields = told('~', { PATH: bin })
  expect(fields[11]).toBe('')
})

test('hostile facts are no facts', () => {
  const fields = told('~')
  expect(() => parseFacts(TARGET, 'box', fields.with(3, 'root'))).toThrowError(
    expect.objectContaining({ code: 'protocol-error' }) as Error,
  )
})

// What systemd-logind is told, in a mount namespace of the test's own.
test.skipIf(process.getuid?.() !== 0).each([
  ['nothing', '', '1'],
  ['KillUserProcesses=yes', 'KillUserProcesses=yes', '0'],
  ['the last one counts', 'KillUserProcesses=yes\nKillUserProcesses=no', '1'],
  ['a comment in a drop-in says nothing', '#KillUserProcesses=yes', '1'],
  ['yes, but lingering in a session manager that answers', 'KillUserProcesses=yes', '1', true],
])('durable: %s', (_name, text, durable, lingers = false) => {
  const user = execFileSync('id', ['-un', '65534']).toString().trim()
  const setup = [
    'mount -t tmpfs none /run && mount -t tmpfs none /var/lib',
    'mkdir -p /run/systemd/system /run/systemd/logind.conf.d /run/user/65534/systemd /var/lib/systemd/linger',
    `printf '%s\\n' ${quoteShell(text)} >/run/systemd/logind.conf.d/test.conf`,
    ...(lingers
      ? [
          `touch /var/lib/systemd/linger/${user}`,
          "mkdir /run/bin && printf '#!/bin/sh\\n' >/run/bin/systemd-run && chmod 755 /run/bin/systemd-run",
          `python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("/run/user/65534/systemd/private")'`,
        ]
      : []),
    'exec setpriv --reuid=65534 --regid=65534 --clear-groups -- "$@"',
  ].join(' && ')
  const fields = told('/tmp', { PATH: '/usr/local/bin:/usr/bin:/bin:/run/bin' }, [
    'unshare',
    '-m',
    '--',
    '/bin/sh',
    '-c',
    setup,
    'sh',
  ])
  expect(parseFacts(TARGET, 'box', fields).durable).toBe(durable === '1')
})
