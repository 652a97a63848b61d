import assert from 'node:assert/strict'
import type { Context } from '../context.ts'
import { verifies } from '../verifies.ts'

async function listed(context: Context): Promise<ReadonlySet<string>> {
  const ids = new Set<string>()
  for await (const info of context.target.api.list({ on: context.target.on }))
    if (info.state === 'running') ids.add(info.id)
  return ids
}

verifies('lifecycle:detached', async (context) => {
  const client = context.otherClient({ open: context.options({ detached: true }), exit: true })
  const { id } = await client.line('opened')
  await client.line('ready')
  await client.kill()
  await context.target.api.gc({ on: context.target.on })
  const box = await context.target.api.attach(id, { on: context.target.on })
  assert.equal((await box.run(['echo', 'alive'])).stdout, 'alive\n')
  await box.close()
  assert.deepEqual(await context.target.leftovers(id), [])
})

verifies('lifecycle:gc-dead-owner', async (context) => {
  const { target } = context
  const client = context.otherClient({ open: context.options(), spawn: [{ argv: ['sleep', '300'] }] })
  const { sandboxId } = await client.line('spawned')
  await client.kill()
  await target.api.gc({ on: target.on, dryRun: true })
  assert.ok((await listed(context)).has(sandboxId), 'a dry run removed it')
  await target.api.gc({ on: target.on })
  assert.ok(!(await listed(context)).has(sandboxId))
  assert.deepEqual(await target.leftovers(sandboxId), [])
})

verifies('lifecycle:gc-living-owner', async (context) => {
  const { target } = context
  const mine = await context.open()
  const named = await context.open({ name: context.marker() })
  const detached = await context.open({ detached: true })
  const other = context.otherClient({ open: context.options() })
  const { id } = await other.line('opened')
  await target.api.gc({ on: target.on })
  const left = await listed(context)
  for (const box of [mine, named, detached]) {
    assert.ok(left.has(box.id))
    assert.equal((await box.run(['echo', 'alive'])).stdout, 'alive\n')
  }
  assert.ok(left.has(id), 'the sandbox of another living client was removed')
  await other.kill()
  await target.api.gc({ on: target.on })
  assert.ok(!(await listed(context)).has(id))
})
