import assert from 'node:assert/strict'
import { failsWith } from '../expectations.ts'
import { verifies } from '../verifies.ts'

verifies('lifecycle:name-idempotent', async ({ open, marker, powers }) => {
  const name = marker()
  const env = { B: '2', A: '1' }
  const first = await open({ name, env })
  await first.files.write('state', 'kept')
  const second = await open({ name, env: { A: '1', B: '2' } })
  assert.equal(second.id, first.id)
  assert.equal(await second.files.readText('state'), 'kept')
  if (powers.has('attach')) assert.equal((await second.run(['printenv', 'A'])).stdout, '1\n')
})

verifies('lifecycle:name-conflict', async ({ open, options, target, marker }) => {
  const name = marker()
  const first = await open({ name, env: { A: '1' } })
  const failure = await failsWith(target.api.open(options({ name, env: { A: '2' } })), 'conflict')
  assert.ok(failure.message.includes(name))
  assert.ok(!failure.message.includes('"2"'), 'a value of the environment is in the message')
  assert.equal((await first.run(['echo', 'alive'])).stdout, 'alive\n')
})

verifies('lifecycle:name-race', async ({ open, target, marker }) => {
  const name = marker()
  const boxes = await Promise.all(Array.from({ length: 4 }, () => open({ name })))
  assert.deepEqual([...new Set(boxes.map((box) => box.id))], [boxes[0]?.id])
  let count = 0
  for await (const info of target.api.list({ on: target.on })) if (info.name === name) count += 1
  assert.equal(count, 1)
  for (const box of boxes) assert.equal((await box.run(['echo', 'ok'])).stdout, 'ok\n')
})

verifies('lifecycle:name-loose-fields', async ({ open, marker }) => {
  const name = marker()
  const first = await open({ name, timeoutMs: 200_000, labels: { one: '1' } })
  const second = await open({ name, timeoutMs: 100_000, labels: { two: '2' } })
  assert.equal(second.id, first.id)
})

verifies('lifecycle:attach-by-name', async ({ open, target, marker }) => {
  const box = await open({ name: marker() })
  await box.files.write('state', 'kept')
  for (const nameOrId of [box.name, box.id]) {
    const again = await target.api.attach(nameOrId, { on: target.on })
    assert.equal(again.id, box.id)
    assert.equal(again.workdir, box.workdir)
    assert.equal(await again.files.readText('state'), 'kept')
    await again.detach()
  }
  assert.equal((await box.run(['echo', 'alive'])).stdout, 'alive\n', 'letting go of one connection ended the sandbox')
  const failure = await failsWith(target.api.attach('no-such-sandbox', { on: target.on }), 'sandbox-not-found')
  assert.match(failure.message, /no-such-sandbox/)
})
