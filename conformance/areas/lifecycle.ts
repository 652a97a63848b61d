import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { failsWith } from '../expectations.ts'
import { verifies } from '../verifies.ts'

verifies('lifecycle:info', async ({ open, target, marker }) => {
  const before = Date.now()
  const box = await open({ name: marker(), timeoutMs: 100_000 })
  const info = await box.info()
  const [node, engine] = target.on.split('/')
  const provider = target.provider ?? node
  assert.deepEqual(
    {
      id: info.id,
      name: info.name,
      provider: info.provider,
      engine: info.engine,
      state: info.state,
      workdir: info.workdir,
    },
    { id: box.id, name: box.name, provider, engine, state: 'running', workdir: box.workdir },
  )
  assert.match(box.id, /^[a-z0-9]{12,}$/)
  const expiry = info.expiresAt?.getTime() ?? 0
  assert.ok(expiry > before + 90_000 && expiry < Date.now() + 101_000, `expires ${new Date(expiry).toISOString()}`)
  assert.ok(['daemon', 'platform'].includes(info.path))
})

verifies('lifecycle:close-idempotent', async ({ open, target }) => {
  const box = await open()
  await Promise.all([box.close(), box.close()])
  await box.close()
  await box[Symbol.asyncDispose]()
  assert.deepEqual(await target.leftovers(box.id), [])
})

verifies('lifecycle:after-close', async ({ open }) => {
  const box = await open()
  await box.close()
  const gone = ['sandbox-gone', 'connection-lost', 'sandbox-not-found']
  await failsWith(box.run(['true']), ...gone)
  await failsWith(box.spawn(['true']), ...gone)
  await failsWith(box.files.read('x'), ...gone)
})

verifies('lifecycle:list', async ({ open, target }) => {
  const ids = async (): Promise<readonly string[]> => {
    const seen = []
    for await (const info of target.api.list({ on: target.on })) if (info.state === 'running') seen.push(info.id)
    return seen
  }
  const [first, second] = await Promise.all([open(), open({ detached: true })])
  const both = await ids()
  assert.ok(both.includes(first.id) && both.includes(second.id))
  await first.close()
  const one = await ids()
  assert.ok(!one.includes(first.id) && one.includes(second.id))
})

verifies('lifecycle:remove', async ({ open, target, marker }) => {
  const box = await open({ name: marker() })
  await target.api.remove(box.name, { on: target.on })
  assert.deepEqual(await target.leftovers(box.id), [])
  await target.api
    .remove(box.name, { on: target.on })
    .catch((error: { code?: string }) => assert.equal(error.code, 'sandbox-not-found'))
})

verifies('lifecycle:removed-under-us', async ({ open, target }) => {
  const box = await open()
  const waiting = box.run(['sleep', '100'])
  const outcome = failsWith(waiting, 'sandbox-gone', 'connection-lost')
  outcome.catch(() => undefined) // awaited below
  await sleep(200)
  await target.api.remove(box.id, { on: target.on })
  await outcome
  await failsWith(box.run(['true']), 'sandbox-gone', 'connection-lost')
})

verifies('lifecycle:cancelled-open', async ({ options, target, marker }) => {
  await failsWith(target.api.open(options({ signal: AbortSignal.abort() })), 'cancelled')
  for (const delayMs of [1, 20, 60, 120]) {
    const abort = new AbortController()
    const name = marker()
    const opening = target.api.open(options({ name, signal: abort.signal }))
    const timer = setTimeout(() => abort.abort(), delayMs)
    const box = await opening.catch((error: { code?: string }) => {
      assert.equal(error.code, 'cancelled')
      return undefined
    })
    clearTimeout(timer)
    await box?.close()
    for await (const info of target.api.list({ on: target.on }))
      assert.notEqual(info.name, name, `cancelled after ${delayMs} ms, it is still there`)
  }
})

verifies('lifecycle:many-at-once', async ({ open, target }) => {
  const boxes = await Promise.all(Array.from({ length: target.manyAtOnce ?? 100 }, () => open()))
  assert.equal(new Set(boxes.map((box) => box.id)).size, boxes.length)
  const outputs = await Promise.all(boxes.map((box, index) => box.shell(`echo ${index} > mine; cat mine`)))
  outputs.forEach((output, index) => assert.equal(output.stdout, `${index}\n`))
  await Promise.all(boxes.map((box) => box.close()))
  assert.deepEqual(await target.leftovers(...boxes.map((box) => box.id)), [])
})

verifies('stats:reported', async ({ open }) => {
  const box = await open()
  const before = await box.stats()
  const busy = await box.spawn([
    'sh',
    '-c',
    'i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; for n in 1 2 3 4 5; do sleep 60 & done; echo done; exec sleep 60',
  ])
  const lines = busy.lines()[Symbol.asyncIterator]()
  assert.equal((await lines.next()).value?.text, 'done')
  const after = await box.stats()
  assert.ok(after.cpuSeconds > before.cpuSeconds, `cpu went from ${before.cpuSeconds} to ${after.cpuSeconds} s`)
  assert.ok(after.processes >= before.processes + 3, `processes went from ${before.processes} to ${after.processes}`)
  assert.ok(after.memoryBytes > 0, `memory is ${after.memoryBytes} bytes`)
  assert.ok(
    after.diskUsedBytes > 0 && after.diskUsedBytes <= after.diskTotalBytes,
    `of ${after.diskTotalBytes} bytes of disk ${after.diskUsedBytes} are used`,
  )
  await busy.kill()
})
