import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { FakePlace } from '../../test/fixtures/fake-pool-sandboxes.ts'
import { AnyplaceError } from '../spec/index.ts'
import { openStore } from '../store/index.ts'
import type { Store } from '../store/index.ts'
import { Pool } from './pool.ts'
import { PoolManager } from './pool-manager.ts'
import type { CommonPoolOptions, PoolEvent } from './pool-options.ts'
import type { ProfileInput } from './profile.ts'
import { readProfile } from './read-profile.ts'

let store: Store
let place: FakePlace
const pools: Pool[] = []

beforeEach(async () => {
  store = await openStore({ directory: mkdtempSync(join(tmpdir(), 'anyplace-pool-')) })
  place = new FakePlace()
})

afterEach(async () => {
  await Promise.all(pools.splice(0).map((pool) => pool.stop({ purge: true })))
  await store.close()
})

function newPool(profile: ProfileInput = {}, options: CommonPoolOptions = {}): Pool {
  const loaded = readProfile('test', { slotsPerSandbox: 2, createPerSecond: 1000, ...profile })
  const pool = new Pool({ loaded, source: place, store, ...options })
  pools.push(pool)
  return pool
}

const bash = (command: string): { tool: string; args: { command: string } } => ({ tool: 'bash', args: { command } })

test('acquire, run, release; the next one finds nothing', async () => {
  const pool = newPool({ maxSandboxes: 1, slotsPerSandbox: 1 })
  const first = await pool.acquire('t1')
  expect(first).toMatchObject({ trajectoryId: 't1', profile: 'test', isolation: 'user', sandbox: 'anyplace-test-0' })
  expect(pool.status()).toMatchObject({ heldSlots: 1, availableSlots: 0, details: [{ trajectories: ['t1'] }] })
  expect(await pool.execute(first, 'bash', { command: 'one' })).toMatchObject({
    success: true,
    slotId: first.slotId,
    metadata: { returncode: 0 },
  })
  expect((await pool.execute(first, 'bash', { command: 'two' })).output).toBe('one')
  expect(await pool.release(first)).toMatchObject({ isClean: true })
  expect(first.ended).toMatchObject({ code: 'cancelled' })
  const second = await pool.acquire('t2')
  expect(second.slotId).toBe(first.slotId)
  expect(second.token).toBeGreaterThan(first.token)
  expect((await pool.execute(second, 'bash', { command: 'three' })).output).toBe('')
})

test('grows on demand to the maximum, one waits, and is served in turn', async () => {
  const pool = newPool({ maxSandboxes: 2 })
  const leases = await Promise.all(['a', 'b', 'c', 'd'].map((id) => pool.acquire(id)))
  expect(new Set(leases.map(({ slotId }) => slotId)).size).toBe(4)
  expect(new Set(leases.map(({ uid }) => uid)).size).toBe(4)
  expect(place.opened.toSorted()).toEqual(['anyplace-test-0', 'anyplace-test-1'])
  const fifth = pool.acquire('e')
  await expect(pool.acquire('f', { timeoutMs: 20 })).rejects.toMatchObject({ code: 'timeout' })
  const stop = new AbortController()
  const sixth = pool.acquire('g', { signal: stop.signal })
  stop.abort()
  await expect(sixth).rejects.toMatchObject({ code: 'cancelled' })
  expect(pool.status()).toMatchObject({ waiting: 1, sandboxes: 2, starting: 0 })
  await pool.release(leases[0]!)
  expect((await fifth).slotId).toBe(leases[0]!.slotId)
  expect(pool.status()).toMatchObject({ waiting: 0, heldSlots: 4 })
})

test('1,000 waiters for a few slots are served in order', async () => {
  const pool = newPool({ maxSandboxes: 1, slotsPerSandbox: 5 })
  const served: number[] = []
  await Promise.all(
    Array.from({ length: 1000 }, async (_, index) => {
      const lease = await pool.acquire(String(index))
      served.push(index)
      await pool.release(lease)
    }),
  )
  expect(served).toEqual(Array.from({ length: 1000 }, (_, index) => index))
})

test('tenants take turns by weight', async () => {
  const pool = newPool({ maxSandboxes: 1, slotsPerSandbox: 1 }, { tenants: { heavy: 3 } })
  const hold = await pool.acquire()
  const served: string[] = []
  const work = [...Array.from({ length: 8 }, () => 'light'), ...Array.from({ length: 8 }, () => 'heavy')].map(
    async (tenant) => {
      const lease = await pool.acquire(undefined, { tenant })
      served.push(tenant)
      await pool.release(lease)
    },
  )
  await pool.release(hold)
  await Promise.all(work)
  expect(served.slice(0, 8).filter((tenant) => tenant === 'heavy')).toHaveLength(6)
})

test('nothing waits while a sandbox is opened: acquire and release go on', async () => {
  const pool = newPool({ maxSandboxes: 2, slotsPerSandbox: 1 })
  const first = await pool.acquire()
  let open = (): void => undefined
  place.onOpen = () => new Promise((resolve) => (open = resolve))
  const second = pool.acquire()
  await vi.waitFor(() => expect(place.opening).toBe(1))
  await pool.release(first)
  const served = await second
  expect(served.slotId).toBe(first.slotId)
  open()
})

test('no more start at once than allowed', async () => {
  place.onOpen = () => new Promise((resolve) => setTimeout(resolve, 10))
  const pool = newPool({ maxSandboxes: 9, slotsPerSandbox: 1, maxStarting: 2 })
  await Promise.all(Array.from({ length: 9 }, () => pool.acquire()))
  expect(place.mostOpening).toBe(2)
})

test('only the holder can release; twice does nothing', async () => {
  const pool = newPool({ maxSandboxes: 1, slotsPerSandbox: 1 })
  const lease = await pool.acquire()
  const { id, slotId, token } = lease
  await expect(pool.release({ id: 'other', slotId, token })).rejects.toMatchObject({ code: 'conflict' })
  await expect(pool.release({ id, slotId, token: token - 1 })).rejects.toMatchObject({ code: 'conflict' })
  await pool.release({ id, slotId, token })
  expect(await pool.release(lease)).toBeUndefined()
  const next = await pool.acquire()
  expect(await pool.release(lease)).toBeUndefined()
  await expect(pool.release({ id, slotId, token })).rejects.toMatchObject({ code: 'conflict' })
  expect(next.ended).toBeUndefined()
  expect(await pool.execute(lease, 'bash', { command: 'x' })).toMatchObject({
    success: false,
    metadata: { code: 'cancelled' },
  })
})

test('a batch: one message per sandbox, request order, each failure alone, and why', async () => {
  const pool = newPool({ maxSandboxes: 2 })
  const [a, b, c] = await Promise.all([pool.acquire(), pool.acquire(), pool.acquire()])
  const seen: number[] = []
  const results = await pool.executeBatch(
    [
      { lease: a!, ...bash('sleep 0.02') },
      { lease: b!, ...bash('false') },
      { lease: c!, tool: 'teleport', args: {} },
      { lease: c!, tool: 'read_file', args: { path: 'a\0b' } },
      { lease: a!, ...bash('second') },
      { lease: c!, ...bash('fine') },
    ],
    { onResult: (index) => seen.push(index) },
  )
  expect(results.map(({ success }) => success)).toEqual([true, false, false, false, true, true])
  expect(results.map(({ metadata }) => metadata.code ?? metadata.returncode)).toEqual([
    0,
    1,
    'invalid-argument',
    'invalid-argument',
    0,
    0,
  ])
  expect(results[4]?.output).toBe('sleep 0.02')
  expect(new Set(seen)).toEqual(new Set([0, 1, 2, 3, 4, 5]))
  expect(seen).toHaveLength(6)
  expect(new Set(results.map(({ executionId }) => executionId)).size).toBe(6)
  expect([...place.running.values()].map(({ batches }) => batches)).toEqual([1, 1])
})

test('a slot that is released while it works: nothing of the old lease runs in the new one', async () => {
  const pool = newPool({ maxSandboxes: 1, slotsPerSandbox: 1 })
  const lease = await pool.acquire()
  const work = pool.executeBatch([
    { lease, ...bash('sleep 5') },
    { lease, ...bash('sleep 4') },
    { lease, ...bash('late') },
  ])
  await vi.waitFor(() => expect(pool.status().details[0]?.slots.executing).toBe(1))
  const next = pool.acquire()
  await pool.release(lease)
  const results = await work
  expect(results.slice(0, 2).map(({ metadata }) => metadata.code)).toEqual(['cancelled', 'cancelled'])
  expect((await pool.execute(await next, 'bash', { command: 'x' })).output).toBe('')
})

test('what does not get clean is quarantined and replaced', async () => {
  const events: PoolEvent[] = []
  const pool = newPool({ maxSandboxes: 1, slotsPerSandbox: 4 }, { onEvent: (event) => events.push(event) })
  const lease = await pool.acquire()
  const [sandbox] = [...place.running.values()]
  sandbox?.dirty.add(lease.slotId.split('/')[1] ?? '')
  expect(await pool.release(lease)).toMatchObject({ isClean: false })
  expect(events.at(-1)).toEqual({ kind: 'slot-quarantined', slotId: lease.slotId, left: ['/tmp/x'] })
  expect(pool.status()).toMatchObject({ quarantinedSlots: 1, availableSlots: 4, totalSlots: 4 })
  const again = await Promise.all(Array.from({ length: 4 }, () => pool.acquire()))
  expect(again.map(({ slotId }) => slotId)).not.toContain(lease.slotId)
  expect(again.map(({ uid }) => uid)).not.toContain(lease.uid)
})

test('a sandbox that dies: its leases and calls fail with a reason, and it is replaced', async () => {
  const pool = newPool({ maxSandboxes: 1, slotsPerSandbox: 2 })
  const lease = await pool.acquire('t')
  const work = pool.execute(lease, 'bash', { command: 'sleep 5' })
  await vi.waitFor(() => expect(pool.status().details[0]?.slots.executing).toBe(1))
  ;[...place.running.values()][0]?.kill()
  expect(await work).toMatchObject({ success: false, metadata: { code: 'sandbox-gone' } })
  await vi.waitFor(() => expect(lease.signal.aborted).toBe(true))
  expect(lease.ended).toMatchObject({ code: 'sandbox-gone' })
  const next = await pool.acquire('u')
  expect(next.slotId.split('/')[0]).not.toBe(lease.slotId.split('/')[0])
  expect(pool.status()).toMatchObject({ sandboxes: 1, heldSlots: 1 })
})

test('shrinks to the minimum when idle, and the store forgets', async () => {
  const pool = newPool({ maxSandboxes: 3, minSandboxes: 1, slotsPerSandbox: 1, idleTimeoutMs: 20 })
  const leases = await Promise.all([pool.acquire(), pool.acquire(), pool.acquire()])
  await Promise.all(leases.map((lease) => pool.release(lease)))
  await vi.waitFor(() => expect(place.running.size).toBe(1))
  await vi.waitFor(async () => expect(await store.list('pools')).toHaveLength(1))
  expect(await store.list('pool-uids')).toHaveLength(1)
})

test('an old sandbox is drained: no new leases, its own ones finish', async () => {
  const pool = newPool({ maxSandboxes: 2, minSandboxes: 1, slotsPerSandbox: 2, maxLifetimeMs: 1000 })
  const lease = await pool.acquire()
  await vi.waitFor(() => expect(pool.status().details[0]?.state).toBe('draining'), 2000)
  const other = await pool.acquire()
  expect(other.sandbox).not.toBe(lease.sandbox)
  expect((await pool.execute(lease, 'bash', { command: 'x' })).success).toBe(true)
  await pool.release(lease)
  await vi.waitFor(() => expect(place.running.has(lease.sandbox)).toBe(false))
})

test('what can never be opened is told at once; what may work later is tried again', async () => {
  place.onOpen = () => {
    throw new AnyplaceError('image-not-found', 'No image "nope".')
  }
  await expect(newPool({}).acquire()).rejects.toMatchObject({ code: 'image-not-found' })
  await expect(newPool({ appName: 'b' }).start()).rejects.toMatchObject({ code: 'image-not-found' })
  let tries = 0
  place.onOpen = () => {
    if (++tries < 3) throw new AnyplaceError('resource-exhausted', 'Not yet.')
  }
  await newPool({ appName: 'c' }).acquire()
  expect(tries).toBe(3)
  place.onOpen = () => {
    throw new AnyplaceError('resource-exhausted', 'Not today.')
  }
  const error: unknown = await newPool({ appName: 'd' })
    .acquire(undefined, { timeoutMs: 100 })
    .catch((reason: unknown) => reason)
  expect(error).toMatchObject({ code: 'timeout', message: expect.stringContaining('Not today.') })
  await expect(newPool({ appName: 'g', acquireTimeoutMs: 100 }).start()).rejects.toMatchObject({
    code: 'resource-exhausted',
  })
  place.onOpen = () => {
    throw new AnyplaceError('engine-unavailable', 'No engine.')
  }
  await expect(newPool({ appName: 'h' }).acquire()).rejects.toMatchObject({ code: 'engine-unavailable' })
  const secrets = newPool({ appName: 'e', secrets: ['token'] }).acquire()
  await expect(secrets).rejects.toMatchObject({ code: 'unsupported', field: 'secrets' })
  const isolated = newPool({ appName: 'f', isolation: 'namespace' }).acquire()
  place.onOpen = () => undefined
  await expect(isolated).rejects.toMatchObject({ code: 'unsupported', field: 'isolation' })
})

test('a lease past its deadline is taken back; renewing moves it', async () => {
  const pool = newPool({ maxSandboxes: 1, slotsPerSandbox: 1 })
  const lease = await pool.acquire('a', { leaseMs: 30 })
  await pool.acquire('b')
  expect(lease.ended).toMatchObject({ code: 'timeout' })
  expect(pool.leases().map(({ trajectoryId }) => trajectoryId)).toEqual(['b'])
  const [held] = pool.leases()
  expect(pool.renew(held!, 1000).getTime()).toBeGreaterThan(Date.now() + 500)
})

test('a detached pool is found again by the next controller, with its leases', async () => {
  const first = newPool({ maxSandboxes: 1 }, { detached: true })
  const lease = await first.acquire('t1')
  await first.execute(lease, 'bash', { command: 'mark' })
  await first.stop()
  expect(lease.ended).toBeDefined()
  const second = newPool({ maxSandboxes: 1 })
  await second.start()
  const again = second.resume('t1')
  expect(again).toMatchObject({ slotId: lease.slotId, id: lease.id, token: lease.token, isRecovered: true })
  expect((await second.execute(again!, 'bash', { command: 'x' })).output).toBe('mark')
  expect(place.opened).toEqual(['anyplace-test-0'])
  // The free slot was known to be clean.
  expect([...place.running.values()][0]?.resets).toEqual([])
  expect((await second.acquire('t2')).token).toBeGreaterThan(lease.token)
})

test('after a crash, slots that are not known to be clean are cleaned before they are handed out', async () => {
  const first = newPool({ maxSandboxes: 1, slotsPerSandbox: 1 }, { detached: true })
  const lease = await first.acquire('t1')
  await first.execute(lease, 'bash', { command: 'mark' })
  // As a controller leaves it that was killed before it wrote the lease down.
  const [entry] = await store.list('pools')
  await store.set('pools', entry?.key ?? '', { ...(entry?.value as object), owner: null, leases: [] })
  const second = newPool({ maxSandboxes: 1, slotsPerSandbox: 1 })
  const next = await second.acquire('t2')
  expect(next.slotId).toBe(lease.slotId)
  expect((await second.execute(next, 'bash', { command: 'x' })).output).toBe('')
  // The first one finds out with its next write, and does no more harm.
  await first.release(lease)
  await vi.waitFor(() => expect(first.status().sandboxes).toBe(0))
  expect(next.ended).toBeUndefined()
  expect((await second.execute(next, 'bash', { command: 'y' })).output).toBe('x')
})

test('no command runs in a slot before its lease is on disk', async () => {
  const pool = newPool({ maxSandboxes: 1 })
  const lease = await pool.acquire('t1')
  let stored = ''
  place.onBatch = async () => {
    stored ||= JSON.stringify(await store.list('pools'))
  }
  await pool.execute(lease, 'bash', { command: 'x' })
  expect(stored).toContain(lease.id)
})

test('leases that nobody resumes are taken back', async () => {
  const first = newPool({ maxSandboxes: 1, slotsPerSandbox: 1 }, { detached: true })
  await first.acquire('t1')
  await first.stop()
  const second = newPool({ maxSandboxes: 1, slotsPerSandbox: 1 }, { resumeWithinMs: 20 })
  const lease = await second.acquire('t2')
  expect((await second.execute(lease, 'bash', { command: 'x' })).output).toBe('')
  expect(second.resume('t1')).toBeUndefined()
})

test('two controllers of one pool share its maximum and never a slot', async () => {
  const [first, second] = [newPool({ maxSandboxes: 2 }), newPool({ maxSandboxes: 2 })]
  const leases = await Promise.all([first.acquire(), second.acquire(), first.acquire(), second.acquire()])
  expect(new Set(leases.map(({ slotId }) => slotId)).size).toBe(4)
  expect(place.opened).toHaveLength(2)
  await expect(first.acquire(undefined, { timeoutMs: 50 })).rejects.toMatchObject({ code: 'timeout' })
  await second.stop()
  // What the other one gave up is free for us.
  await first.acquire(undefined, { timeoutMs: 20_000 })
})

test('a sandbox of another spec is replaced', async () => {
  const first = newPool({ cpu: 1 }, { detached: true })
  await first.start()
  await first.stop()
  const id = [...place.running.values()][0]?.id
  const second = newPool({ cpu: 2 })
  await second.start()
  expect([...place.running.values()].map((sandbox) => sandbox.id)).not.toContain(id)
})

test('a manager: pools on demand, batches over any mix, leases know their pool', async () => {
  const profiles = new Map(
    ['default', 'big'].map((name) => [name, readProfile(name, { slotsPerSandbox: 1, createPerSecond: 100 })]),
  )
  await using manager = new PoolManager({ profiles, source: place, store })
  expect(manager.status()).toMatchObject({ profiles: ['default', 'big'], activePools: [] })
  const [a, b] = await Promise.all([manager.acquire('a'), manager.acquire('b', { profile: 'big' })])
  expect([a.profile, b.profile]).toEqual(['default', 'big'])
  expect(a.slotId).not.toBe(b.slotId)
  const results = await manager.executeBatch([
    { lease: b, ...bash('in b') },
    { lease: a, ...bash('in a') },
    { lease: b, ...bash('again') },
  ])
  expect(results.map(({ slotId, output }) => [slotId, output])).toEqual([
    [b.slotId, ''],
    [a.slotId, ''],
    [b.slotId, 'in b'],
  ])
  await expect(manager.acquire('c', { profile: 'bg' })).rejects.toMatchObject({ code: 'not-found' })
  await manager.release(b)
  expect(manager.profiles().map(({ name, active }) => [name, active])).toEqual([
    ['default', true],
    ['big', true],
  ])
})
