import assert from 'node:assert/strict'
import type { Process } from '../../src/spec/index.ts'
import type { Context } from '../context.ts'
import { eventually } from '../expectations.ts'
import { putFixture } from '../fixtures.ts'
import { survivors, untilRunning } from '../survivors.ts'
import type { TestedSandbox } from '../target.ts'
import { verifies } from '../verifies.ts'

const WAYS = [
  ['kill:tree', 'child', 3],
  ['kill:setsid', 'setsid', 2],
  ['kill:double-fork', 'double-fork', 2],
  ['kill:cleared-environment', 'cleared', 2],
  ['kill:ignored-term', 'ignored', 2],
] as const

for (const [id, kind, count] of WAYS) {
  verifies(id, async ({ box, marker }) => {
    const sandbox = await box()
    const word = marker()
    const process = await sandbox.spawn([await putFixture(sandbox, 'tree.sh'), word, kind])
    await untilRunning(sandbox, word, count)
    await process.kill()
    assert.equal(await survivors(sandbox, word), 0, 'kill resolved while processes of the tree were still there')
    assert.equal((await process.wait()).exitCode, 137)
  })
}

verifies('kill:fork-storm', async ({ open, marker }) => {
  const sandbox = await open()
  await putFixture(sandbox, 'hopper.sh')
  const word = marker()
  const process = await sandbox.spawn([await putFixture(sandbox, 'storm.sh'), word, '2000'])
  await untilRunning(sandbox, word, 4)
  await process.kill()
  assert.equal(await survivors(sandbox, word), 0)
  assert.equal(await survivors(sandbox, word), 0)
})

verifies('kill:only-its-own', async ({ box, marker }) => {
  const sandbox = await box()
  const [mine, others] = [marker(), marker()]
  const tree = await putFixture(sandbox, 'tree.sh')
  const kept = await sandbox.spawn([tree, others, 'double-fork'])
  const killed = await sandbox.spawn([tree, mine, 'double-fork'])
  await untilRunning(sandbox, mine, 2)
  await untilRunning(sandbox, others, 2)
  await killed.kill()
  assert.equal(await survivors(sandbox, others), 2)
  await kept.kill()
  assert.equal(await survivors(sandbox, others), 0)
})

/** A sandbox that has no process left to give, and the one that took them all. */
async function exhausted({ open, marker }: Context): Promise<{ readonly box: TestedSandbox; readonly hog: Process }> {
  const box = await open({ pidsLimit: 64 })
  const hog = await box.spawn([await putFixture(box, 'hog.sh'), marker(), '20000'])
  await eventually('no process can be started any more', async () => {
    const result = await box.run(['true'], { timeoutMs: 5000 }).catch(() => undefined)
    return result === undefined || result.exitCode !== 0
  })
  return { box, hog }
}

verifies('kill:exhausted-pids', async (context) => {
  const { box } = await exhausted(context)
  await box.close()
  assert.deepEqual(await context.target.leftovers(box.id), [])
})

verifies('kill:exhausted-pids-kill', async (context) => {
  const { box, hog } = await exhausted(context)
  await hog.kill()
  assert.equal((await box.run(['echo', 'alive'])).stdout, 'alive\n')
})

verifies('kill:idempotent', async ({ box }) => {
  const sandbox = await box()
  const process = await sandbox.spawn(['sleep', '100'])
  await Promise.all([process.kill(), process.kill()])
  await process.kill()
  assert.equal((await process.wait()).exitCode, 137)
  const ended = await sandbox.spawn(['true'])
  await ended.wait()
  await ended.kill()
  assert.equal((await ended.wait()).exitCode, 0)
})

verifies('kill:close', async ({ open, marker, box, target, powers }) => {
  const sandbox = await open()
  const word = marker()
  const tree = await putFixture(sandbox, 'tree.sh')
  for (const kind of ['child', 'double-fork', 'cleared', 'ignored']) {
    const process = await sandbox.spawn([tree, word, kind])
    await process.detach()
  }
  await sandbox.shell(`(sleep 100; : ${word}) >/dev/null 2>&1 &`)
  await untilRunning(sandbox, word, 9)
  await sandbox.close()
  assert.deepEqual(await target.leftovers(sandbox.id), [])
  // where processes are shared with the machine, another sandbox would see a survivor
  if (!powers.has('privateProcesses')) assert.equal(await survivors(await box(), word), 0)
})

verifies('kill:level', async ({ box, powers }) => {
  const { killLevel, path } = await (await box()).info()
  assert.ok(['exact', 'lineage', 'best-effort'].includes(killLevel))
  if (path === 'daemon') assert.notEqual(killLevel, 'best-effort')
  if (path === 'platform') assert.equal(powers.has('attach'), false)
})
