import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { OwnerState } from '../sandboxes/owner.ts'
import { openStore } from '../store/index.ts'
import type { Store } from '../store/index.ts'
import { Claims, POOLS_NAMESPACE } from './claims.ts'
import { StartGate } from './start-gate.ts'
import { storedPools } from './stored-pools.ts'
import { giveBackUidUnits, takeUidUnits, UNIT_SIZE } from './uid-units.ts'

let store: Store
const later = (): number => Date.now() + 60_000

beforeEach(async () => {
  store = await openStore({ directory: mkdtempSync(join(tmpdir(), 'anyplace-claims-')) })
})
afterEach(() => store.close())

function claims(controller: string, state: OwnerState = 'alive'): Claims {
  return new Claims(store, 'pool', controller, () => Promise.resolve(state))
}

test('one place, many who want it: one gets it', async () => {
  const all = await Promise.all(
    Array.from({ length: 10 }, (_, index) => claims(String(index)).begin(0, 'pool-0', later())),
  )
  expect(all.filter((claim) => claim !== undefined)).toHaveLength(1)
})

test.each([
  ['alive', 'taken'],
  ['unknown', 'taken'],
  ['dead', 'free'],
] as const)('a sandbox whose owner is %s is %s', async (state, standing) => {
  await claims('a').begin(0, 'pool-0', later())
  const [entry] = await claims('b').list()
  expect(await claims('b', state).standing(entry!.record)).toBe(standing)
  expect(await claims('a', state).standing(entry!.record)).toBe('ours')
})

test('a sandbox whose time is over, or that was left, is free', async () => {
  await claims('a').begin(0, 'pool-0', Date.now() - 1)
  const left = await claims('a').begin(1, 'pool-1', later())
  left?.update({ owner: null })
  await left?.written()
  for (const entry of await claims('b').list()) expect(await claims('b').standing(entry.record)).toBe('free')
})

test('of two who take over, one gets it; tokens go on far above the last one written', async () => {
  const old = await claims('a').begin(0, 'pool-0', later())
  old?.update({ sequence: 7 })
  await old?.written()
  const [entry] = await claims('b').list()
  const both = await Promise.all([claims('b').takeOver(entry!), claims('c').takeOver(entry!)])
  const [won] = both.filter((claim) => claim !== undefined)
  expect(both.filter((claim) => claim !== undefined)).toHaveLength(1)
  expect(won?.record.sequence).toBeGreaterThan(1000)
})

test('who has lost a sandbox learns it with the next write, and writes no more', async () => {
  const old = await claims('a').begin(0, 'pool-0', later())
  const [entry] = await claims('b').list()
  const next = await claims('b').takeOver(entry!)
  old?.update({ sequence: 99 })
  await expect(old?.written()).rejects.toMatchObject({ code: 'conflict' })
  expect(await old?.lost).toMatchObject({ code: 'conflict' })
  await old?.forget()
  next?.update({ sequence: 5 })
  await next?.written()
  const [now] = await claims('c').list()
  expect(now?.record).toMatchObject({ controller: 'b', sequence: 5 })
})

test('changes of one turn are one write', async () => {
  const claim = await claims('a').begin(0, 'pool-0', later())
  const [before] = await store.list(POOLS_NAMESPACE)
  for (let sequence = 1; sequence <= 100; sequence++) claim?.update({ sequence })
  await claim?.written()
  const [after] = await store.list(POOLS_NAMESPACE)
  expect(after!.version - before!.version).toBe(1)
  expect(claim?.record.sequence).toBe(100)
})

test('what the store tells of pools to anyone', async () => {
  const claim = await claims('a').begin(0, 'pool-0', later())
  claim?.update({ sandboxId: 'abc', slots: 3 })
  await claim?.written()
  expect(await storedPools(store)).toMatchObject([
    { pool: 'pool', sandboxes: [{ name: 'pool-0', state: 'held', slots: 3, controllerPid: process.pid, leases: [] }] },
  ])
})

test('uids: no two takers have one, all can be had, given back ones again', async () => {
  const range = { first: 1_000_000, count: UNIT_SIZE * 40 }
  const taken = await Promise.all(
    Array.from({ length: 10 }, (_, index) => takeUidUnits(store, range, 4, { sandbox: `s${index}`, untilMs: later() })),
  )
  const units = taken.flat()
  expect(new Set(units).size).toBe(40)
  for (const first of units) expect((first - range.first) % UNIT_SIZE).toBe(0)
  const more = takeUidUnits(store, range, 1, { sandbox: 'x', untilMs: later() })
  await expect(more).rejects.toMatchObject({ code: 'resource-exhausted' })
  await giveBackUidUnits(store, units.slice(0, 1))
  expect(await takeUidUnits(store, range, 1, { sandbox: 'x', untilMs: 0 })).toEqual(units.slice(0, 1))
  // Its time is over, so it is anybody's.
  expect(await takeUidUnits(store, range, 1, { sandbox: 'y', untilMs: later() })).toEqual(units.slice(0, 1))
})

test('starts: so many at once, so many a second', () => {
  let now = 0
  const gate = new StartGate({ maxStarting: 3, perSecond: 2 }, () => now)
  expect([gate.tryBegin(), gate.tryBegin()]).toEqual([0, 0])
  expect(gate.tryBegin()).toBe(500)
  now = 500
  expect(gate.tryBegin()).toBe(0)
  now = 60_000
  expect(gate.tryBegin()).toBe(Infinity)
  gate.done()
  expect([gate.tryBegin(), gate.starting]).toEqual([0, 3])
})
