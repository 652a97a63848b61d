import assert from 'node:assert/strict'
import { CANARY } from '../context.ts'
import { failsWith } from '../expectations.ts'
import type { TestedSandbox } from '../target.ts'
import { verifies } from '../verifies.ts'

const HOSTILE_VALUES = {
  SPACED: 'a b',
  LINES: 'one\ntwo\n',
  QUOTES: `"'`,
  SHELL_TEXT: '$(id) `id`',
  EMPTY: '',
  UNICODE: 'größe 漢字',
}

async function environment(box: TestedSandbox, options = {}): Promise<Map<string, string>> {
  const { stdoutBytes } = await box.run(['cat', '/proc/self/environ'], options)
  const entries = Buffer.from(stdoutBytes)
    .toString('latin1')
    .split('\0')
    .filter((entry) => entry !== '')
  return new Map(
    entries.map((entry) => [
      entry.slice(0, entry.indexOf('=')),
      Buffer.from(entry.slice(entry.indexOf('=') + 1), 'latin1').toString(),
    ]),
  )
}

verifies('process:env-given', async ({ open }) => {
  const sandbox = await open({ env: { ...HOSTILE_VALUES, SHARED: 'of the sandbox' } })
  const seen = await environment(sandbox, { env: { SHARED: 'of the command', OWN: '-x=y=z' } })
  for (const [name, value] of Object.entries(HOSTILE_VALUES)) assert.equal(seen.get(name), value)
  assert.equal(seen.get('SHARED'), 'of the command')
  assert.equal(seen.get('OWN'), '-x=y=z')
  assert.equal((await environment(sandbox)).get('SHARED'), 'of the sandbox')
  const { stdoutBytes } = await sandbox.shell('printf %s "$BYTES"', { env: { BYTES: 'a\udcffb' } })
  assert.deepEqual([...stdoutBytes], [0x61, 0xff, 0x62])
  for (const name of ['', 'A=B']) await failsWith(sandbox.run(['true'], { env: { [name]: 'x' } }), 'invalid-argument')
})

verifies('process:env-minimal', async ({ open, powers }) => {
  const sandbox = await open()
  const seen = await environment(sandbox)
  // its own id, by which what it started is found again
  if (seen.get('ANYPLACE_SANDBOX') === sandbox.id) seen.delete('ANYPLACE_SANDBOX')
  // the process's, where there is no daemon that knows what belongs to it
  seen.delete('ANYPLACE_PROCESS')
  for (const name of ['PATH', 'HOME', 'LANG', 'TERM']) assert.ok(seen.get(name), `${name} is missing`)
  if (powers.has('image')) return // an image's own ENV comes on top
  const known = new Set(['PATH', 'HOME', 'LANG', 'TERM', 'USER', 'LOGNAME', 'SHELL', 'TMPDIR', 'PWD', 'LC_ALL'])
  assert.deepEqual(
    [...seen.keys()].filter((name) => !known.has(name)),
    [],
  )
})

verifies('process:client-env-hidden', async ({ open, marker }) => {
  assert.equal(process.env[CANARY.name], CANARY.value, 'the canary was not planted')
  const sandbox = await open()
  const word = marker()
  const search = async (needle: string) =>
    (await sandbox.run(['sh', '-c', 'grep -l -s -a -F -f - /proc/[0-9]*/environ; true'], { input: `${needle}\n` }))
      .stdout
  const probe = await sandbox.spawn(['sleep', '60'], { env: { PROBE: word } })
  assert.notEqual(await search(word), '', 'the search finds nothing at all')
  assert.equal(await search(CANARY.value), '')
  assert.equal((await environment(sandbox)).has(CANARY.name), false)
  const shell = await sandbox.shell('env; export -p; set')
  assert.equal(shell.stdout.includes(CANARY.value), false)
  await probe.kill()
})

verifies('process:home-writable', async ({ box }) => {
  const { stdout, stderr, exitCode } = await (
    await box()
  ).shell('cd && echo x > .anyplace-test && cat .anyplace-test && rm .anyplace-test')
  assert.deepEqual([stdout, stderr, exitCode], ['x\n', '', 0])
})

verifies('process:user-switch', async ({ open }) => {
  const sandbox = await open()
  const ids = async (user?: string) => (await sandbox.shell('echo $(id -u):$(id -g):$(id -G)', { user })).stdout.trim()
  const before = await ids()
  assert.equal(await ids('12345:23456'), '12345:23456:23456')
  assert.equal((await ids('nobody')).split(':')[0], '65534')
  assert.equal(await ids(), before)
  await sandbox.shell('umask 077; echo private > private')
  assert.notEqual((await sandbox.run(['cat', 'private'], { user: '12345:23456' })).exitCode, 0)
  assert.equal(
    (await sandbox.shell('echo x > "$HOME/.probe"', { user: '12345:23456' })).exitCode,
    0,
    'HOME of another user is not writable',
  )
  // no way back to the sandbox's own user
  const status = (await sandbox.run(['cat', '/proc/self/status'], { user: '12345:23456' })).stdout
  assert.match(status, /^Uid:\t12345\t12345\t12345\t12345$/m)
  assert.match(status, /^CapEff:\t0+$/m)
})

verifies('process:user-unknown', async ({ box }) => {
  const failure = await failsWith(
    (await box()).run(['true'], { user: 'no-such-user' }),
    'invalid-argument',
    'not-found',
    'unsupported',
  )
  assert.match(`${failure.message} ${failure.field ?? ''}`, /no-such-user|user/)
})
