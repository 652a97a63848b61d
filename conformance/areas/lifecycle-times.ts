import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { eventually, failsWith } from '../expectations.ts'
import type { Context } from '../context.ts'
import { survivors } from '../survivors.ts'
import type { TestedSandbox } from '../target.ts'
import { verifies } from '../verifies.ts'

async function untilGone(context: Context, id: string, limitMs = 20_000): Promise<void> {
  let left: readonly string[] = []
  await eventually(
    `sandbox ${id} is gone`,
    async () => {
      left = await context.target.leftovers(id)
      return left.length === 0
    },
    limitMs,
  ).catch((error: unknown) => {
    throw new Error(`left: ${left.join('; ')}`, { cause: error })
  })
}

async function isAlive(box: TestedSandbox): Promise<boolean> {
  return box.run(['true']).then(
    (result) => result.exitCode === 0,
    () => false,
  )
}

verifies('lifecycle:expiry', async (context) => {
  const box = await context.open({ timeoutMs: 5000 })
  const word = context.marker()
  const process = await box.spawn(['sh', '-c', `trap '' TERM; (setsid sleep 100 & :) ; sleep 100; : ${word}`])
  await process.detach()
  const end = (await box.info()).expiresAt?.getTime() ?? 0
  await untilGone(context, box.id)
  assert.ok(Date.now() >= end - 1000, 'it ended before its time')
  await failsWith(box.run(['true']), 'sandbox-gone', 'connection-lost', 'sandbox-not-found')
  if (!context.powers.has('privateProcesses')) assert.equal(await survivors(await context.box(), word), 0)
})

verifies('lifecycle:expiry-without-client', async (context) => {
  const client = context.otherClient({
    open: context.options({ timeoutMs: 6000, detached: true }),
    spawn: [{ argv: ['sh', '-c', 'while :; do sleep 100; done'] }],
  })
  const { sandboxId } = await client.line('spawned')
  await client.kill()
  assert.notDeepEqual(await context.target.leftovers(sandboxId), [], 'leftovers() does not see a living sandbox')
  await untilGone(context, sandboxId)
})

verifies('lifecycle:extend', async ({ open }) => {
  const box = await open({ timeoutMs: 4000, maxLifetimeMs: 60_000 })
  const before = Date.now()
  const end = await box.extend(30_000)
  assert.ok(end.getTime() >= before + 29_000 && end.getTime() <= Date.now() + 31_000)
  await sleep(5000)
  assert.ok(await isAlive(box), 'it ended at its old time')
  assert.ok(Math.abs(((await box.info()).expiresAt?.getTime() ?? 0) - end.getTime()) < 1500)
})

verifies('lifecycle:extend-cap', async ({ open }) => {
  const opened = Date.now()
  const box = await open({ timeoutMs: 60_000, maxLifetimeMs: 90_000 })
  const most = await box.extend(10_000_000)
  assert.ok(
    most.getTime() <= Date.now() + 90_500 && most.getTime() >= opened + 85_000,
    `extended to ${most.toISOString()}`,
  )
  assert.ok((await box.extend(1000)).getTime() >= most.getTime() - 5, 'extend moved the end back')
  // without a maxLifetimeMs the timeout is the maximum too
  const fixed = await open({ timeoutMs: 60_000 })
  assert.ok((await fixed.extend(10_000_000)).getTime() <= Date.now() + 60_500)
  for (const wrong of [0, -1, Number.NaN]) await failsWith(box.extend(wrong), 'invalid-argument')
})

verifies('lifecycle:extend-race', async (context) => {
  const boxes = await Promise.all([0, 1, 2, 3].map(() => context.open({ timeoutMs: 6000, maxLifetimeMs: 120_000 })))
  await Promise.all(
    boxes.map(async (box, index) => {
      const end = (await box.info()).expiresAt?.getTime() ?? 0
      await sleep(Math.max(0, end - Date.now() - 150 + index * 80))
      const extended = await box.extend(60_000).catch((error: { code?: string }) => {
        assert.ok(
          ['sandbox-gone', 'connection-lost', 'sandbox-not-found'].includes(error.code ?? ''),
          `extend failed with ${error.code}`,
        )
        return undefined
      })
      await sleep(2500)
      if (extended === undefined) return untilGone(context, box.id)
      assert.ok(extended.getTime() > Date.now())
      assert.ok(await isAlive(box), 'extend said yes, but the sandbox ended')
    }),
  )
})

verifies('lifecycle:reconnect-keeps-deadline', async ({ open, target, marker }) => {
  const name = marker()
  const first = await open({ name, timeoutMs: 200_000 })
  const end = (await first.info()).expiresAt?.getTime() ?? 0
  const second = await target.api.attach(name, { on: target.on })
  await second.detach()
  const third = await open({ name, timeoutMs: 20_000 })
  const now = (await third.info()).expiresAt?.getTime() ?? 0
  assert.ok(now >= end - 1000, `the end moved from ${new Date(end).toISOString()} to ${new Date(now).toISOString()}`)
})

verifies('lifecycle:idle', async (context) => {
  const box = await context.open({ idleTimeoutMs: 1500 })
  const { id } = box
  assert.ok(await isAlive(box))
  await box.detach()
  await untilGone(context, id)
})

verifies('lifecycle:idle-refused', async (context) => {
  const name = `idle-${context.marker()}`
  const failure = await failsWith(
    context.target.api.open(context.options({ name, idleTimeoutMs: 60_000 })),
    'unsupported',
  )
  assert.equal(failure.field, 'idleTimeoutMs')
  assert.ok(failure.hint, 'the refusal says nothing about what to do')
  for await (const info of context.target.api.list({ on: context.target.on }))
    assert.notEqual(info.name, name, 'a refused open left a sandbox')
})

verifies('lifecycle:idle-busy', async (context) => {
  const box = await context.open({ idleTimeoutMs: 2000, detached: true })
  const process = await box.spawn(['sh', '-c', 'sleep 9; echo finished'])
  await box.detach()
  await sleep(4000)
  const again = await context.target.api.attach(box.id, { on: context.target.on })
  assert.equal((await again.attach(process.id)).id, process.id)
  await again.detach()
  await untilGone(context, box.id)
})
