import assert from 'node:assert/strict'
import { eventually, failsWith } from '../expectations.ts'
import { verifies } from '../verifies.ts'

/** Prints every argument, each ended by NUL. */
const PRINT = ['sh', '-c', 'for word; do printf "%s\\0" "$word"; done', 'print']

const HOSTILE = [
  'a b',
  '',
  '"double" \'single\'',
  'two\nlines\n',
  '$(id) `id` ${HOME}',
  '-rf',
  '--',
  '*',
  'a\\b\\n',
  'größe 漢字 🚀',
  '\t',
  ';&|<>!#~',
]

verifies('process:argv-exact', async ({ box }) => {
  const { stdoutBytes } = await (await box()).run([...PRINT, ...HOSTILE])
  assert.deepEqual(Buffer.from(stdoutBytes).toString().split('\0'), [...HOSTILE, ''])
})

verifies('process:argv-not-utf8', async ({ box }) => {
  const { stdoutBytes } = await (await box()).run([...PRINT, '\udcff\udc80x', 'é\udce9'])
  assert.deepEqual([...stdoutBytes], [0xff, 0x80, 0x78, 0, 0xc3, 0xa9, 0xe9, 0])
})

verifies('process:nul-refused', async ({ box, directory }) => {
  const sandbox = await box()
  const here = await directory()
  await failsWith(sandbox.run(['touch', `${here}/made`, 'a\0b']), 'invalid-argument')
  await failsWith(sandbox.run(['true'], { env: { NAME: 'a\0b' } }), 'invalid-argument')
  await failsWith(sandbox.run(['true'], { env: { 'NA\0ME': 'value' } }), 'invalid-argument')
  await failsWith(sandbox.run(['true'], { cwd: 'a\0b' }), 'invalid-argument')
  for (const path of ['a\0b', `${here}/a\0`]) {
    await failsWith(sandbox.files.write(path, 'x'), 'invalid-argument')
    await failsWith(sandbox.files.read(path), 'invalid-argument')
    await failsWith(sandbox.files.stat(path), 'invalid-argument')
    await failsWith(sandbox.files.list(path), 'invalid-argument')
    await failsWith(sandbox.files.remove(path, { recursive: true }), 'invalid-argument')
    await failsWith(sandbox.files.makeDirectory(path), 'invalid-argument')
  }
  assert.equal((await sandbox.files.list(here)).total, 0)
})

verifies('process:empty-argv-refused', async ({ box }) => {
  await failsWith((await box()).run([]), 'invalid-argument')
  await failsWith((await box()).run(['']), 'invalid-argument', 'command-not-found')
})

verifies('process:cwd', async ({ box, directory }) => {
  const sandbox = await box()
  const here = await directory()
  await sandbox.files.makeDirectory(`${here}/a b/-c`)
  const where = async (cwd?: string) => (await sandbox.run(['pwd'], { cwd })).stdout.trimEnd()
  assert.equal(await where(), sandbox.workdir)
  assert.equal(await where(`${here}/a b`), `${sandbox.workdir}/${here}/a b`)
  assert.equal(await where(`${sandbox.workdir}/${here}/a b/-c`), `${sandbox.workdir}/${here}/a b/-c`)
  assert.equal(await where('/'), '/')
})

verifies('process:cwd-missing', async ({ box, directory }) => {
  const here = await directory()
  const failure = await failsWith(
    (await box()).run(['true'], { cwd: `${here}/nowhere` }),
    'file-not-found',
    'not-a-directory',
  )
  assert.match(failure.message, /nowhere/)
})

verifies('process:shell', async ({ box }) => {
  const { stdout } = await (
    await box()
  ).shell('cat <<"END"\n$HOME is `not` replaced\nEND\nfor n in 1 2; do echo "$n"; done | cat')
  assert.equal(stdout, '$HOME is `not` replaced\n1\n2\n')
})

verifies('process:background-child', async ({ box, marker }) => {
  const sandbox = await box()
  const word = marker()
  const result = await sandbox.shell(`echo begun; (sleep 100; : ${word}) & exit 4`, { timeoutMs: 30_000 })
  assert.deepEqual(
    { out: result.stdout, code: result.exitCode, late: result.timedOut },
    { out: 'begun\n', code: 4, late: false },
  )
})

verifies('process:list', async ({ open, marker }) => {
  const sandbox = await open()
  const word = marker()
  const running = await sandbox.spawn(['sh', '-c', `sleep 100; : ${word}`])
  const ended = await sandbox.spawn(['sh', '-c', 'exit 7'])
  await ended.wait()
  const listed = await sandbox.processes()
  const first = listed.find((one) => one.id === running.id)
  assert.equal(first?.state, 'running')
  assert.deepEqual(first.argv, ['sh', '-c', `sleep 100; : ${word}`])
  assert.equal(first.pid, running.pid)
  assert.ok(Math.abs(first.startedAt.getTime() - Date.now()) < 600_000)
  const second = listed.find((one) => one.id === ended.id)
  if (second !== undefined) assert.equal(second.exit?.exitCode, 7)
  await running.kill()
  await eventually('the killed process is told as exited', async () =>
    (await sandbox.processes()).every((one) => one.id !== running.id || one.state === 'exited'),
  )
})

verifies('process:signal', async ({ box }) => {
  const sandbox = await box()
  const process = await sandbox.spawn([
    'sh',
    '-c',
    'trap "echo caught; exit 5" USR1; echo ready; while :; do sleep 0.1; done',
  ])
  const seen: string[] = []
  for await (const { stream, text } of process.lines()) {
    if (stream === 'stderr') continue // the shell may tell there that the signal ended its sleep too
    seen.push(text)
    if (text === 'ready') await process.signal('SIGUSR1')
  }
  assert.deepEqual(seen, ['ready', 'caught'])
  assert.equal((await process.wait()).exitCode, 5)
})

verifies('process:many', async ({ box, target }) => {
  const sandbox = await box()
  const count = target.powers.includes('attach') ? 500 : 50
  const results = await Promise.all(
    Array.from({ length: count }, (_, index) =>
      sandbox.run(['sh', '-c', `echo out ${index}; echo err ${index} >&2; sleep 0.${index % 10}; exit ${index % 256}`]),
    ),
  )
  results.forEach((result, index) => {
    assert.deepEqual([result.stdout, result.stderr, result.exitCode], [`out ${index}\n`, `err ${index}\n`, index % 256])
  })
})

verifies('process:key', async ({ open }) => {
  const sandbox = await open()
  const argv = ['sh', '-c', 'echo once >> count; sleep 0.3; echo done; exit 6']
  const [first, second] = await Promise.all([
    sandbox.spawn(argv, { key: 'same' }),
    sandbox.spawn(argv, { key: 'same' }),
  ])
  assert.equal(first.id, second.id)
  assert.equal((await first.wait()).exitCode, 6)
  assert.equal((await second.wait()).exitCode, 6)
  assert.equal(await sandbox.files.readText('count'), 'once\n')
  const other = await sandbox.spawn(argv, { key: 'other' })
  assert.notEqual(other.id, first.id)
  await other.wait()
  assert.equal(await sandbox.files.readText('count'), 'once\nonce\n')
})
