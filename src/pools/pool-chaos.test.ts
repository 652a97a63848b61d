import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { FakePlace } from '../../test/fixtures/fake-pool-sandboxes.ts'
import { openStore } from '../store/index.ts'
import type { Lease } from './lease.ts'
import { Pool } from './pool.ts'
import { readProfile } from './read-profile.ts'

const LOADED = readProfile('chaos', { slotsPerSandbox: 2, maxSandboxes: 2, createPerSecond: 10_000, idleTimeoutMs: 5 })

/**
 * Two controllers of one pool. A slot of the fake place says what ran in it before, so a lease that is not alone in its slot,
 * or that finds its predecessor's traces, sees it.
 */
test('random acquire, release, execute, killed sandboxes, dirty slots and stopped controllers: no slot is held twice', async () => {
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ do: fc.constant('acquire' as const), of: fc.nat(1) }) },
    { weight: 4, arbitrary: fc.record({ do: fc.constantFrom('release', 'execute'), pick: fc.nat() }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('kill', 'dirty'), pick: fc.nat() }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('restart' as const), of: fc.nat(1) }) },
    { weight: 2, arbitrary: fc.constant({ do: 'pause' as const }) },
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 60, size: 'max' }), async (steps) => {
      const store = await openStore({ directory: mkdtempSync(join(tmpdir(), 'anyplace-chaos-')) })
      const place = new FakePlace()
      const newPool = (detached: boolean): Pool =>
        new Pool({ loaded: LOADED, source: place, store, detached, resumeWithinMs: 1 })
      const pools = [newPool(true), newPool(true)]
      const held = new Map<Lease, { readonly pool: Pool; readonly marks: string[] }>()
      const waiting: Promise<void>[] = []
      let runs = 0
      const take = (pool: Pool): void => {
        const got = pool.acquire(undefined, { timeoutMs: 30 }).then(
          (lease) => {
            for (const other of held.keys()) {
              if (other.ended === undefined) expect(other.slotId, 'held twice').not.toBe(lease.slotId)
            }
            held.set(lease, { pool, marks: [] })
          },
          (error: unknown) => expect(error).toMatchObject({ code: expect.stringMatching(/^(timeout|cancelled)$/) }),
        )
        waiting.push(got)
      }
      try {
        for (const one of steps) {
          const alive = [...held.keys()].filter(({ ended }) => ended === undefined)
          const lease = 'pick' in one ? alive[one.pick % Math.max(1, alive.length)] : undefined
          const mine = lease === undefined ? undefined : held.get(lease)
          if (one.do === 'acquire') take(pools[one.of]!)
          else if (one.do === 'pause') await new Promise((resolve) => setTimeout(resolve, 3))
          else if (one.do === 'release' && lease !== undefined)
            waiting.push(mine!.pool.release(lease).then(() => undefined))
          else if (one.do === 'execute' && lease !== undefined && mine !== undefined) {
            const mark = `mark ${runs++}`
            const result = await mine.pool.execute(lease, 'bash', { command: mark })
            if (result.success) {
              // Exactly what this lease did before: nothing of a predecessor and nothing of anybody beside it.
              expect(result.output).toBe(mine.marks.join(','))
              mine.marks.push(mark)
            } else expect(result.metadata.code).toMatch(/^(sandbox-gone|cancelled|conflict|not-found)$/)
          } else if (one.do === 'kill' || one.do === 'dirty') {
            const sandboxes = [...place.running.values()]
            const sandbox = sandboxes[one.pick % Math.max(1, sandboxes.length)]
            if (one.do === 'kill') sandbox?.kill()
            else for (const name of sandbox?.slots.keys() ?? []) sandbox?.dirty.add(name)
            if (one.do === 'kill' && sandbox !== undefined) place.running.delete(sandbox.request.name)
          } else if (one.do === 'restart') {
            await pools[one.of]!.stop()
            pools[one.of] = newPool(true)
          }
          expect(place.running.size).toBeLessThanOrEqual(2)
        }
        await Promise.all(waiting)
      } finally {
        await Promise.all(pools.map((pool) => pool.stop({ purge: true })))
        await newPool(false).purge()
        expect(place.running.size).toBe(0)
        expect(await store.list('pools')).toEqual([])
        await store.close()
      }
    }),
    { numRuns: 25 },
  )
}, 60_000)
