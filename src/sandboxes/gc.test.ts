import { expect, test } from 'vitest'
import type { OpenRequest } from '../spec/index.ts'
import { AnyplaceError } from '../spec/index.ts'
import { FakePlace, FakeProvider, openFakeSession } from '../../test/fixtures/fake-provider.ts'
import { collectGarbage } from './gc.ts'
import type { OwnerState } from './owner.ts'

const OWNER = { hostname: 'h', bootId: 'b', pidNamespace: '1', pid: 7, startTime: '9' }
const HOUR = 3_600_000

function world() {
  const provider = new FakeProvider()
  const add = (name: string, request: Partial<OpenRequest> = {}): FakePlace => {
    const timeoutMs = request.lifetime?.timeoutMs ?? HOUR
    const place = new FakePlace({
      id: `id-${name}`,
      name,
      spec: {},
      lifetime: { timeoutMs, maxLifetimeMs: timeoutMs },
      labels: {},
      owner: undefined,
      specDigest: '',
      ...request,
    })
    provider.places.set(place.info.id, place)
    return place
  }
  const gc = (state: OwnerState, dryRun = false) =>
    collectGarbage({ provider, openSession: openFakeSession, ownerState: async () => state }, { dryRun })
  return { provider, add, gc }
}

const names = (entries: readonly { readonly name: string }[]): string[] => entries.map((entry) => entry.name).sort()

test.each<[OwnerState, string[]]>([
  ['dead', ['owned']],
  ['alive', []],
  ['unknown', []],
])('an owner that is %s', async (state, removed) => {
  const { provider, add, gc } = world()
  add('owned', { owner: OWNER })
  add('named')
  const report = await gc(state)
  expect(names(report.removed)).toEqual(removed)
  expect(names(report.kept)).toEqual(['named', 'owned'].filter((name) => !removed.includes(name)))
  expect(provider.places.size).toBe(2 - removed.length)
})

test('a dry run removes nothing and reports the same', async () => {
  const { provider, add, gc } = world()
  add('owned', { owner: OWNER })
  const report = await gc('dead', true)
  expect(report).toMatchObject({ dryRun: true, removed: [{ name: 'owned', reason: 'its owner, process 7, is gone' }] })
  expect(provider.places.size).toBe(1)
})

test('what has ended goes, whoever owns it', async () => {
  const { add, gc } = world()
  add('ended', { owner: OWNER }).finish('killed')
  expect((await gc('alive')).removed).toMatchObject([{ name: 'ended', reason: 'ended: killed' }])
})

test('expired goes, extended stays, and one that does not answer is kept', async () => {
  const { add, gc } = world()
  const lifetime = { timeoutMs: -1, maxLifetimeMs: HOUR }
  add('expired', { lifetime })
  add('extended', { lifetime }).expiresAt = new Date(Date.now() + HOUR)
  add('silent', { lifetime }).unreachable = new AnyplaceError('connection-lost', 'no answer')
  const report = await gc('unknown')
  expect(names(report.removed)).toEqual(['expired'])
  expect(names(report.kept)).toEqual(['extended', 'silent'])
})

test('a removal that fails is told and does not stop the others', async () => {
  const { provider, add, gc } = world()
  for (const name of ['a', 'b', 'c']) add(name, { owner: OWNER })
  const remove = provider.remove.bind(provider)
  provider.remove = (id) => (id === 'id-b' ? Promise.reject(new Error('busy')) : remove(id))
  const report = await gc('dead')
  expect(names(report.removed)).toEqual(['a', 'c'])
  expect(report.failed).toMatchObject([{ name: 'b', reason: 'busy' }])
})

test('a failure while the listing goes on is the failure of the whole, and nothing is left unheard', async () => {
  const { provider, add } = world()
  add('first', { lifetime: { timeoutMs: -1, maxLifetimeMs: -1 } })
  const unheard: unknown[] = []
  const hear = (error: unknown): void => void unheard.push(error)
  process.on('unhandledRejection', hear)
  try {
    const stop = new AbortController()
    const listed = provider.list.bind(provider)
    const slow = Object.assign(provider, {
      attach: () => new Promise<never>((_resolve, reject) => setTimeout(() => reject(new Error('no answer')), 10)),
      async *list() {
        for await (const info of listed()) yield info
        stop.abort(new Error('given up'))
        await new Promise((resolve) => setTimeout(resolve, 50))
        throw new Error('the listing broke off')
      },
    }) as FakeProvider
    const collecting = collectGarbage({ provider: slow }, { signal: stop.signal })
    await expect(collecting).rejects.toThrow()
    expect(unheard).toEqual([])
  } finally {
    process.off('unhandledRejection', hear)
  }
})
