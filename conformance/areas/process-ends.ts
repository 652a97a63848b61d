import assert from 'node:assert/strict'
import { eventually, failsWith } from '../expectations.ts'
import { putFixture } from '../fixtures.ts'
import { survivors, untilRunning } from '../survivors.ts'
import { verifies } from '../verifies.ts'

verifies('process:exit-codes', async ({ box }) => {
  const sandbox = await box()
  for (const code of [0, 1, 3, 255]) {
    const { exitCode, signal, timedOut, oomKilled } = await sandbox.run(['sh', '-c', `exit ${code}`])
    assert.deepEqual(
      { exitCode, signal, timedOut, oomKilled },
      { exitCode: code, signal: null, timedOut: false, oomKilled: false },
    )
  }
})

verifies('process:exit-127-126', async ({ box, directory }) => {
  const sandbox = await box()
  const here = await directory()
  await sandbox.files.write(`${here}/plain`, 'text')
  assert.equal((await sandbox.shell('no-such-program-anywhere')).exitCode, 127)
  assert.equal((await sandbox.shell(`./${here}/plain`)).exitCode, 126)
  const missing = await sandbox.run(['no-such-program-anywhere'])
  assert.equal(missing.exitCode, 127)
  assert.match(missing.stderr, /no-such-program-anywhere/)
  const plain = await sandbox.run([`${sandbox.workdir}/${here}/plain`])
  assert.equal(plain.exitCode, 126)
  assert.match(plain.stderr, /plain/)
  assert.equal((await sandbox.run([`${sandbox.workdir}/${here}`])).exitCode, 126)
})

verifies('process:exit-signal', async ({ box }) => {
  const sandbox = await box()
  for (const [name, number] of [
    ['KILL', 9],
    ['TERM', 15],
    ['USR1', 10],
  ] as const) {
    const { exitCode, signal, oomKilled } = await sandbox.shell(`kill -${name} $$`)
    assert.deepEqual(
      { exitCode, signal, oomKilled },
      { exitCode: 128 + number, signal: `SIG${name}`, oomKilled: false },
    )
  }
})

verifies('process:check', async ({ box }) => {
  const sandbox = await box()
  const failure = await failsWith(sandbox.shell('echo part; echo why >&2; exit 9', { check: true }), 'command-failed')
  const { result } = failure as unknown as { result: { exitCode: number; stdout: string; stderr: string } }
  assert.deepEqual([result.exitCode, result.stdout, result.stderr], [9, 'part\n', 'why\n'])
  assert.match(failure.message, /why/)
  assert.equal((await sandbox.shell('exit 0', { check: true })).exitCode, 0)
})

verifies('process:duration', async ({ box }) => {
  const { durationMs } = await (await box()).shell('sleep 0.5')
  assert.ok(durationMs >= 490 && durationMs < 30_000, `durationMs is ${durationMs}`)
})

for (const kind of ['timeout', 'cancel'] as const) {
  verifies(`process:${kind}`, async ({ box, marker }) => {
    const sandbox = await box()
    const word = marker()
    const tree = await putFixture(sandbox, 'tree.sh')
    const abort = new AbortController()
    const result = await sandbox.run([tree, word, 'child'], {
      ...(kind === 'timeout' ? { timeoutMs: 1500 } : { signal: abort.signal }),
      onOutput: () => {
        if (kind === 'cancel') abort.abort()
      },
    })
    const { exitCode, stdout, timedOut } = result
    assert.deepEqual(
      { exitCode, stdout, timedOut },
      { exitCode: kind === 'timeout' ? 124 : 130, stdout: 'started\n', timedOut: kind === 'timeout' },
    )
    await eventually('the tree is gone', async () => (await survivors(sandbox, word)) === 0)
  })
}

verifies('process:cancel-early', async ({ box, directory }) => {
  const sandbox = await box()
  const here = await directory()
  await failsWith(sandbox.run(['touch', `${here}/started`], { signal: AbortSignal.abort() }), 'cancelled')
  await sandbox.run(['true'])
  assert.equal(await sandbox.files.exists(`${here}/started`), false)
})

verifies('process:oom', async ({ open, marker }) => {
  const sandbox = await open({ memoryLimitMiB: 128 })
  const word = marker()
  const quiet = await sandbox.spawn(['sh', '-c', `sleep 100; : ${word}`])
  // tail keeps a line until it ends, and this one never does
  const greedy = await sandbox.run(['tail', '-n', '1', '/dev/zero'], { timeoutMs: 40_000 })
  assert.deepEqual(
    { exitCode: greedy.exitCode, signal: greedy.signal, oomKilled: greedy.oomKilled },
    { exitCode: 137, signal: 'SIGKILL', oomKilled: true },
  )
  assert.equal((await sandbox.run(['echo', 'alive'])).stdout, 'alive\n')
  await untilRunning(sandbox, word, 1)
  await quiet.kill()
})
