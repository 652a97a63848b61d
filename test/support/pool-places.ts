import type { ProfileInput } from '../../src/index.ts'
import { list, open, remove } from '../../src/index.ts'
import { chaosTargets } from '../chaos/targets.ts'

/** An engine that can hold slots, and what a profile of it needs. */
export interface PoolPlace {
  readonly name: string
  readonly profile: ProfileInput
  /** Names of the sandboxes that are there and begin so. */
  sandboxes(prefix: string): Promise<readonly string[]>
}

/** The engines that answer now and can hold slots. Those that ANYPLACE_EXPECT names must answer; `direct` never can. */
export async function poolPlaces(): Promise<readonly PoolPlace[]> {
  const places: PoolPlace[] = []
  for (const { name, on } of await chaosTargets()) {
    if (name === 'direct') continue
    try {
      await (await open({ on, slots: 1, timeoutMs: 60_000 })).close()
    } catch (error) {
      process.stderr.write(`pools: ${name} cannot hold slots here: ${String(error)}\n`)
      continue
    }
    const image: ProfileInput = name === 'namespace' ? {} : { image: 'python:3.12-slim' }
    const profile: ProfileInput = { ...image, on, cpu: 0.1, memoryMiB: 64, createPerSecond: 50, maxLifetimeMs: 300_000 }
    const sandboxes = async (prefix: string): Promise<readonly string[]> => {
      const names: string[] = []
      for await (const info of list({ on })) if (info.name.startsWith(prefix)) names.push(info.name)
      return names
    }
    places.push({ name, profile, sandboxes })
  }
  return places
}

/** Removes what a test left. */
export async function removeSandboxes(place: PoolPlace, prefix: string): Promise<void> {
  const on = place.profile.on
  for (const name of await place.sandboxes(prefix)) {
    await remove(name, on === undefined ? {} : { on }).catch(() => undefined)
  }
}
