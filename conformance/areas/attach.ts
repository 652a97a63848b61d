import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { drain, eventually, failsWith } from '../expectations.ts'
import type { Context } from '../context.ts'
import { verifies } from '../verifies.ts'

const QUIET_MS = Number(process.env['ANYPLACE_QUIET_MS'] ?? '3000')

/** A detached sandbox that another client opened, with one process of that client. */
async function othersProcess(context: Context, argv: readonly string[], stdin?: 'pipe') {
  const client = context.otherClient({
    open: context.options({ detached: true, timeoutMs: 120_000 }),
    spawn: [{ argv, ...(stdin === undefined ? {} : { stdin }) }],
  })
  const { processId, sandboxId } = await client.line('spawned')
  return {
    client,
    processId,
    /** Attached here; removed with the test. */
    async connect() {
      const box = await context.target.api.attach(sandboxId, { on: context.target.on })
      return box
    },
    remove: () => context.target.api.remove(sandboxId, { on: context.target.on }),
  }
}

const numbers = (count: number): string => Array.from({ length: count }, (_, index) => `${index + 1}\n`).join('')

verifies('attach:after-kill-9', async (context) => {
  const other = await othersProcess(context, ['sh', '-c', 'seq 1 50000; sleep 1.5; echo late; echo err >&2; exit 11'])
  await other.client.kill()
  try {
    const box = await other.connect()
    const process = await box.attach(other.processId)
    const [stdout, stderr, exit] = await Promise.all([drain(process.stdout), drain(process.stderr), process.wait()])
    assert.equal(stdout.toString(), `${numbers(50_000)}late\n`)
    assert.equal(stderr.toString(), 'err\n')
    assert.equal(exit.exitCode, 11)
    assert.deepEqual(process.argv.slice(0, 2), ['sh', '-c'])
    // and once more, from the middle
    const again = await box.attach(other.processId, { fromOffset: { stdout: 1000, stderr: 2 } })
    const [rest, restErr] = await Promise.all([drain(again.stdout), drain(again.stderr)])
    assert.equal(rest.toString(), `${numbers(50_000)}late\n`.slice(1000))
    assert.equal(restErr.toString(), 'r\n')
    await box.close()
  } finally {
    await other.remove().catch(() => undefined)
  }
})

verifies('attach:from-offset', async ({ open }) => {
  const box = await open()
  const first = await box.spawn(['sh', '-c', 'printf 0123456789; printf abcdefghij >&2'])
  await first.wait()
  for (const offset of [0, 1, 9, 10]) {
    const process = await box.attach(first.id, { fromOffset: { stdout: offset } })
    const [stdout, stderr] = await Promise.all([drain(process.stdout), drain(process.stderr)])
    assert.equal(stdout.toString(), '0123456789'.slice(offset))
    assert.equal(stderr.toString(), 'abcdefghij')
    assert.equal((await process.wait()).exitCode, 0)
  }
  for (const offset of [-1, 1.5, 11])
    await failsWith(box.attach(first.id, { fromOffset: { stdout: offset } }), 'invalid-argument')
})

verifies('attach:exit-kept', async ({ open, marker, target }) => {
  const box = await open({ name: marker() })
  const process = await box.spawn(['sh', '-c', 'echo kept; exit 21'])
  const { id } = process
  await process.detach()
  await eventually('it has ended', async () =>
    (await box.processes()).some((one) => one.id === id && one.state === 'exited'),
  )
  const second = await target.api.attach(box.name, { on: target.on })
  const later = await second.attach(id)
  assert.equal((await drain(later.stdout)).toString(), 'kept\n')
  assert.equal((await later.wait()).exitCode, 21)
  await second.detach()
})

verifies('attach:after-quiet', async ({ open }) => {
  const box = await open()
  const process = await box.spawn(['sh', '-c', 'echo early; until [ -e go ]; do sleep 0.05; done; echo late'])
  await process.detach()
  await sleep(QUIET_MS)
  const again = await box.attach(process.id)
  await box.files.write('go', '')
  assert.equal((await drain(again.stdout)).toString(), 'early\nlate\n')
})

verifies('attach:stopped-client', async (context) => {
  const count = 300_000
  const client = context.otherClient({
    open: context.options(),
    spawn: [{ argv: ['sh', '-c', `seq 1 ${count / 2}; sleep 1; seq ${count / 2 + 1} ${count}`] }],
    follow: 0,
  })
  await client.line('spawned')
  client.signal('SIGSTOP')
  await sleep(QUIET_MS)
  client.signal('SIGCONT')
  const { bytes, sha256, exitCode } = await client.line('followed')
  const expected = numbers(count)
  assert.deepEqual(
    { bytes, sha256, exitCode },
    { bytes: expected.length, sha256: createHash('sha256').update(expected).digest('hex'), exitCode: 0 },
  )
})

verifies('attach:twice', async ({ open, target }) => {
  const box = await open()
  const second = await target.api.attach(box.id, { on: target.on })
  const process = await box.spawn(['sh', '-c', 'until [ -e go ]; do sleep 0.05; done; seq 1 20000; exit 2'])
  const followers = [process, await box.attach(process.id), await second.attach(process.id)]
  await box.files.write('go', '')
  const outputs = await Promise.all(followers.map((one) => drain(one.stdout)))
  for (const output of outputs) assert.equal(output.toString(), numbers(20_000))
  assert.deepEqual(await Promise.all(followers.map(async (one) => (await one.wait()).exitCode)), [2, 2, 2])
  await second.detach()
})

verifies('attach:detached-handle', async ({ open }) => {
  const box = await open()
  const process = await box.spawn(['sh', '-c', 'until [ -e go ]; do sleep 0.05; done; echo ran on > proof'])
  await process.detach()
  await box.files.write('go', '')
  await eventually('the process ran on', () => box.files.exists('proof'))
})

verifies('attach:unknown', async ({ box }) => {
  const failure = await failsWith((await box()).attach('no-such-process'), 'process-not-found')
  assert.match(failure.message, /no-such-process/)
})

verifies('attach:stdin', async (context) => {
  const other = await othersProcess(
    context,
    ['sh', '-c', 'while read -r line; do echo "<$line>"; done; exit 8'],
    'pipe',
  )
  await other.client.kill()
  try {
    const box = await other.connect()
    const process = await box.attach(other.processId)
    assert.ok(process.stdin, 'stdin is still a pipe')
    const writer = process.stdin.getWriter()
    await writer.write(new TextEncoder().encode('from another client\n'))
    await writer.close()
    assert.equal((await drain(process.stdout)).toString(), '<from another client>\n')
    assert.equal((await process.wait()).exitCode, 8)
    await box.close()
  } finally {
    await other.remove().catch(() => undefined)
  }
})
