import { AnyplaceError } from '../spec/index.ts'
import { loadProfiles, profileNamed } from '../pools/load-profiles.ts'
import type { ProfileSources } from '../pools/load-profiles.ts'
import { Pool } from '../pools/pool.ts'
import { PoolManager } from '../pools/pool-manager.ts'
import type { CommonPoolOptions } from '../pools/pool-options.ts'
import type { LoadedProfile, ProfileInput } from '../pools/profile.ts'
import { readProfile } from '../pools/read-profile.ts'
import type { SandboxSource } from '../pools/sandbox-source.ts'
import { openStore } from '../store/index.ts'
import type { Store } from '../store/index.ts'
import { open, remove } from './open.ts'

/** Pools open their sandboxes as everybody does. */
const source: SandboxSource = { open, remove }

/** What `createPool` takes: fields of a profile, or the name of one that is loaded, and how the pool works. */
export interface PoolOptions extends CommonPoolOptions {
  /** The profile itself, or the name of one of `profilesFile` or of the environment. @default 'default' */
  readonly profile?: string | ProfileInput | undefined
  /** Name of a profile that is given as an object; the pool's sandboxes are named after it. @default 'default' */
  readonly name?: string | undefined
  /** A YAML file with a map `profiles:`. @default what the environment names */
  readonly profilesFile?: string | undefined
  /** Where leases and pool state are kept; closed by who opened it. @default the user's own */
  readonly store?: Store | undefined
}

/** What `createPoolManager` takes. */
export interface PoolManagerOptions extends CommonPoolOptions, Omit<ProfileSources, 'env'> {
  /** @default 'default' */
  readonly defaultProfile?: string | undefined
  /** Where leases and pool state are kept; closed by who opened it. @default the user's own */
  readonly store?: Store | undefined
}

/**
 * A pool: sandboxes with slots that are leased to trajectories. Its first `acquire` or `start` opens the first sandbox;
 * disposing or stopping it ends them all, unless it is `detached`.
 *
 * @example
 * await using pool = await createPool({ profile: { image: 'python:3.12-slim', maxSandboxes: 2 } })
 * await using lease = await pool.acquire('trajectory-1')
 * const { output } = await pool.execute(lease, 'bash', { command: 'echo hello' })
 * @throws AnyplaceError `invalid-argument` that names the field and where it stands, `not-found` for an unknown profile
 */
export async function createPool(options: PoolOptions = {}): Promise<Pool> {
  const { profile = 'default', name = 'default', profilesFile, store, ...rest } = options
  let loaded: LoadedProfile
  if (typeof profile === 'string') loaded = profileNamed(await loadProfiles({ profilesFile }), profile)
  else {
    if (profilesFile !== undefined) {
      throw new AnyplaceError('invalid-argument', 'profilesFile does not go with a profile that is given whole.', {
        field: 'profilesFile',
        hint: 'give the name of a profile of the file',
      })
    }
    loaded = readProfile(name, profile)
  }
  const own = store === undefined ? await openStore() : undefined
  return new Pool({
    ...rest,
    loaded,
    source,
    store: store ?? (own as Store),
    ...(own === undefined ? {} : { onStopped: () => own.close() }),
  })
}

/**
 * Pools of several profiles, each started when it is first needed.
 *
 * @throws AnyplaceError `invalid-argument`, `file-not-found`: a broken source is never skipped
 */
export async function createPoolManager(options: PoolManagerOptions = {}): Promise<PoolManager> {
  const { profiles, profilesFile, store, ...rest } = options
  const loaded = await loadProfiles({ profiles, profilesFile })
  const own = store === undefined ? await openStore() : undefined
  try {
    return new PoolManager({
      ...rest,
      profiles: loaded,
      source,
      store: store ?? (own as Store),
      ...(own === undefined ? {} : { onStopped: () => own.close() }),
    })
  } catch (error) {
    await own?.close()
    throw error
  }
}
