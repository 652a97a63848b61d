import { AnyplaceError } from '../spec/index.ts'
import type { CallOptions } from '../spec/index.ts'
import { loadProfiles, profileNamed } from '../pools/load-profiles.ts'
import type { ProfileSources } from '../pools/load-profiles.ts'
import { poolName } from '../pools/open-pool-sandbox.ts'
import { Pool } from '../pools/pool.ts'
import type { CommonPoolOptions, PoolStatus } from '../pools/pool-options.ts'
import type { LoadedProfile, ProfileInput } from '../pools/profile.ts'
import { readProfile } from '../pools/read-profile.ts'
import { storedPools } from '../pools/stored-pools.ts'
import type { StoredPool } from '../pools/stored-pools.ts'
import { suggest } from '../sandboxes/suggest.ts'
import { openStore } from '../store/index.ts'
import type { JsonValue, Store } from '../store/index.ts'
import { open, remove } from './open.ts'

const NAMESPACE = 'standing-pools'

/** Which pool, and what `pools up` changes of its profile. */
export interface StandingPoolOptions extends CallOptions {
  /** @default 'default' */
  readonly profile?: string | undefined
  /** A YAML file with a map `profiles:`. @default what the environment names */
  readonly profilesFile?: string | undefined
  /** Fields that differ from the profile's. */
  readonly changes?: ProfileInput | undefined
  readonly resolveSecret?: CommonPoolOptions['resolveSecret']
}

/** A pool that stands, and its profile. */
export interface StandingPool extends StoredPool {
  readonly profile: string
  readonly minSandboxes: number
  readonly maxSandboxes: number
  readonly slotsPerSandbox: number
  readonly on: string | undefined
  readonly image: string
}

/**
 * Starts a pool that outlives this process: its sandboxes run until their lifetime ends or {@link poolDown}. Repeated, it
 * finds the same pool.
 */
export async function poolUp(options: StandingPoolOptions = {}): Promise<PoolStatus> {
  return withStore(async (store) => {
    const { profile = 'default', profilesFile, changes = {}, resolveSecret } = options
    const found = profileNamed(await loadProfiles({ profilesFile }), profile)
    const loaded = Object.keys(changes).length === 0 ? found : changed(found, changes)
    const pool = new Pool({ loaded, source: { open, remove }, store, detached: true, resolveSecret })
    const stop = (): void => void pool.stop().catch(() => undefined)
    options.signal?.addEventListener('abort', stop, { once: true })
    try {
      await pool.start()
      options.signal?.throwIfAborted()
      await store.set(NAMESPACE, pool.name, loaded as unknown as JsonValue)
      return pool.status()
    } finally {
      options.signal?.removeEventListener('abort', stop)
      await pool.stop()
    }
  })
}

/**
 * Works with a pool that stands, as one of its controllers, and lets go of it afterwards.
 *
 * @throws AnyplaceError `not-found` when no such pool was started
 */
export async function withStandingPool<T>(
  options: Omit<StandingPoolOptions, 'changes' | 'profilesFile'>,
  work: (pool: Pool) => Promise<T>,
): Promise<T> {
  return withStore(async (store) => {
    const loaded = await standing(store, options.profile ?? 'default')
    const { resolveSecret } = options
    const pool = new Pool({ loaded, source: { open, remove }, store, detached: true, resolveSecret })
    try {
      return await work(pool)
    } finally {
      await pool.stop()
    }
  })
}

/** Ends a pool that stands: its sandboxes, leases and records. Gives the names of sandboxes that a living controller still has. */
export async function poolDown(
  options: { readonly profile?: string | undefined } & CallOptions = {},
): Promise<{ readonly removed: readonly string[]; readonly taken: readonly string[] }> {
  return withStore(async (store) => {
    const loaded = await standing(store, options.profile ?? 'default')
    const pool = new Pool({ loaded, source: { open, remove }, store })
    const report = await pool.purge()
    if (report.taken.length === 0) await store.delete(NAMESPACE, pool.name)
    return report
  })
}

/** All pools that stand, with their sandboxes and leases. */
export async function poolsStanding(): Promise<readonly StandingPool[]> {
  return withStore(async (store) => {
    const stored = new Map((await storedPools(store)).map((pool) => [pool.pool, pool]))
    const entries = await store.list(NAMESPACE)
    return entries.map(({ key, value }) => {
      const { profile } = value as unknown as LoadedProfile
      const { minSandboxes, maxSandboxes, slotsPerSandbox, on, image } = profile
      const limits = { minSandboxes, maxSandboxes, slotsPerSandbox, on, image }
      return { pool: key, profile: profile.name, sandboxes: stored.get(key)?.sandboxes ?? [], ...limits }
    })
  })
}

async function standing(store: Store, name: string): Promise<LoadedProfile> {
  const all = (await store.list(NAMESPACE)).map(({ value }) => value as unknown as LoadedProfile)
  const found = all.find(({ profile }) => profile.name === name || poolName(profile) === name)
  if (found !== undefined) return found
  const meant = suggest(
    name,
    all.map(({ profile }) => profile.name),
  )
  throw new AnyplaceError('not-found', `No pool of profile ${JSON.stringify(name)} is up.`, {
    field: 'profile',
    hint: meant === undefined ? `start it: anyplace pools up ${name}` : `did you mean ${meant}?`,
  })
}

/** The profile with other values for some fields. */
function changed(loaded: LoadedProfile, changes: ProfileInput): LoadedProfile {
  const { name, ...fields } = loaded.profile
  const made = readProfile(name, { ...fields, ...changes } as ProfileInput, { kind: 'object', where: 'the options' })
  const kept = Object.fromEntries(
    Object.entries(loaded.origins).filter(([field]) => !Object.hasOwn(changes, field)),
  ) as Partial<LoadedProfile['origins']>
  return { profile: made.profile, origins: { ...made.origins, ...kept } }
}

async function withStore<T>(work: (store: Store) => Promise<T>): Promise<T> {
  const store = await openStore()
  try {
    return await work(store)
  } finally {
    await store.close()
  }
}

/** The profiles there are, or one of them, each value with its origin. @throws AnyplaceError as `loadProfiles`; `not-found` */
export async function poolProfiles(
  options: ProfileSources & { readonly profile?: string | undefined } = {},
): Promise<readonly LoadedProfile[]> {
  const { profile, ...sources } = options
  const all = await loadProfiles(sources)
  return profile === undefined ? [...all.values()] : [profileNamed(all, profile)]
}
