import { randomInt } from 'node:crypto'
import { AnyplaceError } from '../spec/index.ts'
import type { Store } from '../store/index.ts'

const NAMESPACE = 'pool-uids'
/** Uids are allotted in units of this many. */
export const UNIT_SIZE = 16
const ATTEMPTS = 20

export interface UidRange {
  readonly first: number
  readonly count: number
}

/**
 * Takes units of uids that no other sandbox of this store has: the kernel counts processes per uid across containers, so a
 * uid that two slots of one machine share would let one exhaust the other's limit. Gives the first uid of each unit.
 *
 * @param untilMs when they may be given to others although nobody gave them back
 * @throws AnyplaceError `resource-exhausted` when the range is used up
 */
export async function takeUidUnits(
  store: Store,
  range: UidRange,
  count: number,
  taker: { readonly sandbox: string; readonly untilMs: number },
): Promise<readonly number[]> {
  const units = Math.floor(range.count / UNIT_SIZE)
  const taken: number[] = []
  for (let attempt = 0; attempt < ATTEMPTS && taken.length < count; attempt++) {
    const entries = new Map((await store.list(NAMESPACE)).map((entry) => [Number(entry.key), entry]))
    // A random place to begin: two stores on one machine do not know of each other.
    const start = units === 0 ? 0 : randomInt(units)
    for (let step = 0; step < units && taken.length < count; step++) {
      const first = range.first + ((start + step) % units) * UNIT_SIZE
      const entry = entries.get(first)
      if (entry !== undefined && untilOf(entry.value) > Date.now()) continue
      if (await store.compareAndSet(NAMESPACE, String(first), entry?.version ?? 0, { ...taker })) taken.push(first)
    }
    if (units === 0 || [...entries.values()].filter(({ value }) => untilOf(value) > Date.now()).length >= units) break
  }
  if (taken.length === count) return taken
  await giveBackUidUnits(store, taken)
  throw new AnyplaceError('resource-exhausted', `All ${range.count} uids for slots from ${range.first} are in use.`, {
    hint: 'stop pools that are not needed, or use fewer slots',
  })
}

/** Lets others have them. */
export async function giveBackUidUnits(store: Store, units: readonly number[]): Promise<void> {
  for (const first of units) await store.delete(NAMESPACE, String(first))
}

function untilOf(value: unknown): number {
  const until = typeof value === 'object' && value !== null && 'untilMs' in value ? value.untilMs : undefined
  return typeof until === 'number' ? until : Infinity
}
