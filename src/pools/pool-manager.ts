import type { ResetReport, SlotShell } from '../spec/index.ts'
import { AnyplaceError } from '../spec/index.ts'
import type { Artifacts } from '../sandboxes/artifacts.ts'
import type { Store } from '../store/index.ts'
import type { ExecuteBatchOptions, ExecuteRequest } from './batch-runner.ts'
import type { Lease } from './lease.ts'
import { profileNamed } from './load-profiles.ts'
import { poolName } from './open-pool-sandbox.ts'
import { Pool } from './pool.ts'
import type {
  AcquireOptions,
  CommonPoolOptions,
  LeaseReference,
  PoolStatus,
  ProfileSummary,
  ReleaseOptions,
} from './pool-options.ts'
import type { LoadedProfile } from './profile.ts'
import type { SandboxSource } from './sandbox-source.ts'
import { failedResult } from './slot-tools.ts'
import type { ToolArguments, ToolResult } from './slot-tools.ts'

/** What a manager is made of. */
export interface PoolManagerParts extends CommonPoolOptions {
  readonly profiles: ReadonlyMap<string, LoadedProfile>
  /** @default 'default' */
  readonly defaultProfile?: string | undefined
  readonly source: SandboxSource
  readonly store: Store
  /** Called when everything is stopped: closes the store if it is ours. */
  readonly onStopped?: (() => Promise<void>) | undefined
}

/** How a manager and its pools stand. */
export interface PoolManagerStatus {
  readonly profiles: readonly string[]
  readonly activePools: readonly string[]
  readonly defaultProfile: string
  readonly pools: Readonly<Record<string, PoolStatus>>
}

/** Pools of several profiles, each started when it is first needed. Their leases, batches and statuses in one place. */
export class PoolManager implements AsyncDisposable {
  readonly #parts: PoolManagerParts
  readonly #defaultProfile: string
  readonly #pools = new Map<string, Pool>()
  #stopping: Promise<void> | undefined

  constructor(parts: PoolManagerParts) {
    this.#parts = parts
    this.#defaultProfile = parts.defaultProfile ?? 'default'
    profileNamed(parts.profiles, this.#defaultProfile)
    const names = new Map<string, string>()
    for (const { profile } of parts.profiles.values()) {
      const name = poolName(profile)
      const other = names.get(name)
      if (other !== undefined) {
        throw new AnyplaceError(
          'invalid-argument',
          `Profiles ${other} and ${profile.name} make pools of one name, ${name}.`,
          {
            field: 'profiles',
            hint: 'give one of them another name or appName',
          },
        )
      }
      names.set(name, profile.name)
    }
  }

  /**
   * Starts pools now instead of on demand.
   *
   * @param options.profiles @default the default profile only
   * @throws AnyplaceError `not-found` for an unknown profile, and what keeps sandboxes from being opened
   */
  async start(options: { readonly profiles?: readonly string[] | undefined } = {}): Promise<void> {
    const pools = (options.profiles ?? [this.#defaultProfile]).map((name) => this.pool(name))
    await Promise.all(pools.map((pool) => pool.start()))
  }

  /** The pool of a profile, made when it is first asked for. @throws AnyplaceError `not-found`, `cancelled` when stopped */
  pool(profile: string = this.#defaultProfile): Pool {
    if (this.#stopping !== undefined) throw new AnyplaceError('cancelled', 'The pool manager was stopped.')
    let pool = this.#pools.get(profile)
    if (pool === undefined) {
      const { source, store } = this.#parts
      const { onStopped: _, ...common } = this.#parts
      pool = new Pool({ ...common, loaded: profileNamed(this.#parts.profiles, profile), source, store })
      this.#pools.set(profile, pool)
    }
    return pool
  }

  /** As {@link Pool.acquire}; `options.profile` says from which pool. */
  async acquire(trajectoryId?: string, options: AcquireOptions = {}): Promise<Lease> {
    return this.pool(options.profile).acquire(trajectoryId, options)
  }

  /** As {@link Pool.release}. */
  async release(lease: Lease, options: ReleaseOptions = {}): Promise<ResetReport | undefined> {
    return this.#poolOf(lease).release(lease, options)
  }

  /** As {@link Pool.execute}. */
  async execute(
    lease: Lease,
    tool: string,
    args: ToolArguments,
    options: Omit<ExecuteBatchOptions, 'onResult'> = {},
  ): Promise<ToolResult> {
    const { timeoutMs, ...rest } = options
    const [result] = await this.executeBatch([{ lease, tool, args, timeoutMs }], rest)
    return result as ToolResult
  }

  /** As {@link Pool.executeBatch}, over any mix of profiles, all at the same time. */
  async executeBatch(requests: readonly ExecuteRequest[], options: ExecuteBatchOptions = {}): Promise<ToolResult[]> {
    const byPool = new Map<Pool, number[]>()
    const results: ToolResult[] = []
    for (const [index, { lease }] of requests.entries()) {
      try {
        const pool = this.#poolOf(lease)
        const indexes = byPool.get(pool)
        if (indexes === undefined) byPool.set(pool, [index])
        else indexes.push(index)
      } catch (error) {
        const failure = AnyplaceError.is(error) ? error : new AnyplaceError('internal', String(error), { cause: error })
        const result = failedResult(lease.slotId, failure)
        results[index] = result
        options.onResult?.(index, result)
      }
    }
    await Promise.all(
      [...byPool].map(async ([pool, indexes]) => {
        const own = indexes.map((index) => requests[index] as ExecuteRequest)
        const onResult = (index: number, result: ToolResult): void => {
          options.onResult?.(indexes[index] ?? -1, result)
        }
        const found = await pool.executeBatch(own, { ...options, onResult })
        for (const [at, result] of found.entries()) results[indexes[at] ?? -1] = result
      }),
    )
    return results
  }

  /** As {@link Pool.artifacts}. */
  artifacts(lease: Lease): Artifacts {
    return this.#poolOf(lease).artifacts(lease)
  }

  /** As {@link Pool.shell}. */
  shell(lease: Lease): SlotShell {
    return this.#poolOf(lease).shell(lease)
  }

  /** As {@link Pool.renew}. */
  renew(lease: Lease, leaseMs: number): Date {
    return this.#poolOf(lease).renew(lease, leaseMs)
  }

  /** As {@link Pool.resume}, in every pool that runs. */
  resume(trajectoryId: string): Lease | undefined {
    for (const pool of this.#pools.values()) {
      const lease = pool.resume(trajectoryId)
      if (lease !== undefined) return lease
    }
    return undefined
  }

  /** All leases that hold now. */
  leases(): readonly Lease[] {
    return [...this.#pools.values()].flatMap((pool) => pool.leases())
  }

  status(): PoolManagerStatus {
    return {
      profiles: [...this.#parts.profiles.keys()],
      activePools: [...this.#pools.keys()],
      defaultProfile: this.#defaultProfile,
      pools: Object.fromEntries([...this.#pools].map(([name, pool]) => [name, pool.status()])),
    }
  }

  /** Every profile, and whether its pool runs. */
  profiles(): readonly ProfileSummary[] {
    return [...this.#parts.profiles.values()].map(({ profile }) => ({
      ...profile,
      active: this.#pools.has(profile.name),
    }))
  }

  /** As {@link Pool.stop}, for all pools. Idempotent. */
  stop(options: { readonly purge?: boolean | undefined } = {}): Promise<void> {
    this.#stopping ??= this.#shut(options)
    return this.#stopping
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  async #shut(options: { readonly purge?: boolean | undefined }): Promise<void> {
    const ends = await Promise.allSettled([...this.#pools.values()].map((pool) => pool.stop(options)))
    await this.#parts.onStopped?.()
    const failed = ends.find((end) => end.status === 'rejected')
    if (failed !== undefined) throw failed.reason
  }

  #poolOf(lease: Lease | LeaseReference): Pool {
    const profile = 'profile' in lease ? lease.profile : undefined
    const pool = profile === undefined ? undefined : this.#pools.get(profile)
    if (pool !== undefined) return pool
    throw new AnyplaceError('conflict', `Lease ${lease.id} is of no pool of this manager.`, {
      data: { leaseId: lease.id, slotId: lease.slotId },
    })
  }
}
