import { AnyplaceError } from '../spec/index.ts'
import type { ResetReport, SlotShell } from '../spec/index.ts'
import { newId } from '../kit/ids.ts'
import { throwIfAborted } from '../kit/deadline.ts'
import { Artifacts } from '../sandboxes/artifacts.ts'
import { Claims } from './claims.ts'
import { runBatch } from './batch-runner.ts'
import type { BatchContext, ExecuteBatchOptions, ExecuteRequest } from './batch-runner.ts'
import { Fleet } from './fleet.ts'
import type { Holding } from './holding.ts'
import { LeaseBook, nameOf } from './lease-book.ts'
import { Lease } from './lease.ts'
import { poolName } from './open-pool-sandbox.ts'
import type { OpenedSandbox, SandboxFactory } from './open-pool-sandbox.ts'
import type { PoolSandbox } from './pool-sandbox.ts'
import { secretsOf } from './pool-secrets.ts'
import { poolStatus } from './pool-status.ts'
import type {
  AcquireOptions,
  LeaseReference,
  PoolParts,
  PoolStatus,
  ProfileSummary,
  ReleaseOptions,
} from './pool-options.ts'
import type { ResetStrategy } from './profile.ts'
import { SlotKeeping } from './slot-keeping.ts'
import { SlotLedger } from './slot-ledger.ts'
import type { LedgerSlot } from './slot-ledger.ts'
import type { ToolArguments, ToolResult } from './slot-tools.ts'
import { Waiter } from './waiter.ts'

const RESUME_WITHIN_MS = 60_000

/**
 * Sandboxes of one profile, whose slots are leased to trajectories. It grows on demand, shrinks when idle, replaces what
 * dies, and hands out a slot to one trajectory at a time, clean.
 */
export class Pool implements AsyncDisposable {
  /** Unique for a profile and an app; its sandboxes are named after it. */
  readonly name: string
  readonly #parts: PoolParts
  readonly #claims: Claims
  readonly #fleet: Fleet
  readonly #keeping: SlotKeeping<Waiter>
  readonly #ledger: SlotLedger<PoolSandbox, Waiter>
  readonly #leases: LeaseBook
  readonly #batchContext: BatchContext
  #secrets: Readonly<Record<string, string>> = {}
  #starting: Promise<void> | undefined
  #stopping: Promise<void> | undefined
  #firstFailure: AnyplaceError | undefined
  #whenChanged: (() => void)[] = []

  constructor(parts: PoolParts) {
    const { profile } = parts.loaded
    this.#parts = parts
    this.name = poolName(profile)
    this.#claims = new Claims(parts.store, this.name, newId())
    const secrets = (): Readonly<Record<string, string>> => this.#secrets
    const factory: SandboxFactory = {
      loaded: parts.loaded,
      pool: this.name,
      source: parts.source,
      store: parts.store,
      get secrets() {
        return secrets()
      },
    }
    this.#ledger = new SlotLedger((waiter, slot) => this.#onGrant(waiter, slot))
    this.#fleet = new Fleet(factory, this.#claims, {
      opened: (opened) => this.#onOpened(opened),
      draining: (sandbox) => this.#ledger.drain(sandbox),
      lost: (sandbox, error) => this.#onLost(sandbox, error),
      failed: (error) => this.#onFailed(error),
      unserved: () => this.#ledger.waiting - this.#keeping.cleaning,
    })
    this.#keeping = new SlotKeeping(this.#ledger, {
      onQuarantine: (slotId, left) => {
        parts.onEvent?.({ kind: 'slot-quarantined', slotId, left })
      },
      onHopeless: (sandbox) => this.#fleet.drain(sandbox),
    })
    this.#leases = new LeaseBook({
      profile: profile.name,
      release: async (lease) => void (await this.release(lease)),
      onDeadline: (holding) => {
        const { id, slotId } = holding.lease
        const error = new AnyplaceError('timeout', `Lease ${id} of slot ${slotId} is past its deadline.`)
        void this.#endLease(holding, error).catch(() => undefined)
      },
    })
    this.#batchContext = {
      executionTimeoutMs: profile.executionTimeoutMs,
      holding: (lease) => this.#leases.get(lease),
      began: (holding) => {
        if (holding.slot.state === 'acquired') this.#ledger.event(holding.slot, 'start')
      },
      finished: (holding) => {
        if (holding.outstanding === 0 && holding.slot.state === 'executing') this.#ledger.event(holding.slot, 'finish')
      },
    }
  }

  /**
   * Takes over what an earlier controller of the pool left and opens the minimum. Called by the first `acquire` too.
   *
   * @throws AnyplaceError what keeps its sandboxes from being opened: `unsupported`, `image-not-found`, …
   */
  async start(): Promise<void> {
    await this.#begin()
    const { minSandboxes, acquireTimeoutMs } = this.#parts.loaded.profile
    const endsAt = performance.now() + acquireTimeoutMs
    while (this.#fleet.sandboxes.size < minSandboxes && this.#stopping === undefined) {
      if (this.#firstFailure !== undefined) throw this.#firstFailure
      const { lastFailure } = this.#fleet
      // Opening may take long; failing again and again may not.
      if (lastFailure !== undefined && performance.now() > endsAt) throw lastFailure
      await new Promise<void>((resolve) => {
        this.#whenChanged.push(resolve)
        setTimeout(resolve, acquireTimeoutMs / 4).unref()
      })
    }
  }

  /**
   * A clean slot for a trajectory: a free one at once, else the next in turn.
   *
   * @param trajectoryId @default a new id
   * @throws AnyplaceError `timeout` when none was free in time, `cancelled`, `not-found` for another profile, and what keeps
   *   sandboxes from being opened when there are none
   */
  async acquire(trajectoryId: string = newId(), options: AcquireOptions = {}): Promise<Lease> {
    const { profile } = this.#parts.loaded
    const { tenant = '', timeoutMs = profile.acquireTimeoutMs, leaseMs, signal } = options
    if (options.profile !== undefined && options.profile !== profile.name) {
      throw new AnyplaceError(
        'not-found',
        `Pool ${this.name} has the profile ${profile.name}, not ${options.profile}.`,
        {
          field: 'profile',
        },
      )
    }
    for (const [name, value] of [
      ['timeoutMs', timeoutMs],
      ['leaseMs', leaseMs],
    ] as const) {
      if (value !== undefined && !(value >= 0)) {
        throw new AnyplaceError('invalid-argument', `${name} must be 0 or more (got ${value}).`, { field: name })
      }
    }
    throwIfAborted(signal)
    if (this.#stopping !== undefined) throw stopped(this.name)
    const waiter = new Waiter({ trajectoryId, tenant, leaseMs })
    const ticket = this.#ledger.request(waiter, tenant, this.#parts.tenants?.[tenant])
    if (ticket !== undefined) {
      const leave = (it: typeof ticket): boolean => this.#ledger.cancel(it)
      this.#keeping.giveWay()
      waiter.limit(ticket, { timeoutMs, signal, why: () => this.#tooLate(timeoutMs) }, leave)
      void this.#begin().then(
        () => this.#fleet.wake(),
        (error: unknown) =>
          this.#onFailed(AnyplaceError.is(error) ? error : new AnyplaceError('internal', String(error))),
      )
    }
    return waiter.lease
  }

  /**
   * Gives a slot back. It is made clean and verified before anybody else gets it; what is not clean is quarantined and
   * replaced. Releasing one's own lease twice does nothing.
   *
   * @returns what cleaning it found; undefined when there was nothing to clean any more
   * @throws AnyplaceError `conflict` when the slot is not held by that lease
   */
  async release(lease: Lease | LeaseReference, options: ReleaseOptions = {}): Promise<ResetReport | undefined> {
    if (lease instanceof Lease && lease.ended !== undefined) return undefined
    const holding = this.#leases.get(lease)
    return this.#endLease(holding, new AnyplaceError('cancelled', `Lease ${lease.id} was released.`), options.reset)
  }

  /** Moves a lease's deadline to `leaseMs` from now, never beyond the end of its sandbox. Gives the new deadline. */
  renew(lease: Lease | LeaseReference, leaseMs: number): Date {
    return this.#leases.renew(this.#leases.get(lease), leaseMs)
  }

  /** The lease that a trajectory had when the last controller was killed; undefined when there is none. Keeps it from being taken back. */
  resume(trajectoryId: string): Lease | undefined {
    return this.#leases.resume(trajectoryId)
  }

  /** All leases that hold now. */
  leases(): readonly Lease[] {
    return this.#leases.all().map(({ lease }) => lease)
  }

  /** Runs a tool in a slot. Never rejects: a failure is in the result. */
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

  /**
   * Runs calls side by side, as one message per sandbox; results come in the order of the requests. Calls of one slot run one
   * after another. Never rejects: each failure is in its own result, with a code.
   */
  executeBatch(requests: readonly ExecuteRequest[], options: ExecuteBatchOptions = {}): Promise<ToolResult[]> {
    return runBatch(this.#batchContext, requests, options)
  }

  /** The slot's results: read, list and archive below its home, with caps and checksums. @throws AnyplaceError when the lease does not hold */
  artifacts(lease: Lease | LeaseReference): Artifacts {
    const { sandbox, name, lease: held } = this.#leases.get(lease)
    return new Artifacts(sandbox.slots.files(name), held.home)
  }

  /** The slot's own bash: the one that `bash_stateful` uses. @throws AnyplaceError when the lease does not hold */
  shell(lease: Lease | LeaseReference): SlotShell {
    const holding = this.#leases.get(lease)
    holding.shell ??= holding.sandbox.slots.shell(holding.name)
    return holding.shell
  }

  status(): PoolStatus {
    return poolStatus(
      this.name,
      this.#parts.loaded.profile,
      this.#ledger,
      this.#fleet,
      this.#keeping,
      this.#leases.all(),
    )
  }

  profiles(): readonly ProfileSummary[] {
    return [{ ...this.#parts.loaded.profile, active: this.#stopping === undefined && this.#starting !== undefined }]
  }

  /**
   * Ends the pool: waiters are refused. With `purge` its sandboxes and leases end too; without, they stay for the next
   * controller. Idempotent.
   *
   * @param options.purge @default true, false for a detached pool
   */
  stop(options: { readonly purge?: boolean | undefined } = {}): Promise<void> {
    const purge = options.purge ?? this.#parts.detached !== true
    this.#stopping ??= this.#closing(() => this.#shut(purge))
    return this.#stopping
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  /**
   * Stops this pool and ends all that other controllers of it left, in the store and on the node, without starting anything.
   *
   * @returns names of the sandboxes that were removed, and of those that a living controller has
   */
  async purge(): Promise<{ readonly removed: readonly string[]; readonly taken: readonly string[] }> {
    let report: { readonly removed: readonly string[]; readonly taken: readonly string[] } = { removed: [], taken: [] }
    this.#stopping ??= this.#closing(async () => {
      await this.#shut(true)
      report = await this.#fleet.purgeLeft()
    })
    await this.#stopping
    return report
  }

  #begin(): Promise<void> {
    if (this.#stopping !== undefined) return Promise.reject(stopped(this.name))
    this.#starting ??= this.#startOnce().catch((error: unknown) => {
      this.#starting = undefined
      throw error
    })
    return this.#starting
  }

  async #startOnce(): Promise<void> {
    this.#secrets = await secretsOf(this.#parts.loaded.profile, this.#parts.resolveSecret)
    await this.#fleet.start()
  }

  async #closing(end: () => Promise<void>): Promise<void> {
    try {
      await end()
    } finally {
      await this.#parts.onStopped?.()
    }
  }

  async #shut(purge: boolean): Promise<void> {
    for (const waiter of this.#ledger.dismiss()) {
      waiter.done()
      waiter.reject(stopped(this.name))
    }
    this.#fleet.halt()
    await this.#starting?.catch(() => undefined)
    this.#keeping.stop()
    await this.#keeping.idle()
    const isClean = (sandbox: PoolSandbox): boolean =>
      this.#ledger.slotsOf(sandbox).every(({ state }) => state !== 'releasing' && state !== 'error')
    try {
      await this.#fleet.stop(purge, isClean)
    } finally {
      this.#leases.endAll(stopped(this.name))
    }
    this.#changed()
  }

  #onOpened({ sandbox, leased, unclean, clean }: OpenedSandbox): void {
    const slots = [
      ...leased.map(({ slot }) => ({ slot, state: 'acquired' as const })),
      ...unclean.map((slot) => ({ slot, state: 'releasing' as const })),
      ...clean.map((slot) => ({ slot, state: 'available' as const })),
    ].map(({ slot, state }, index) => ({ id: sandbox.slotId(slot.name), index, state }))
    this.#parts.onEvent?.({ kind: 'sandbox-opened', sandbox: sandbox.name })
    this.#firstFailure = undefined
    this.#ledger.addGroup(sandbox, slots, (slot) => {
      const record = leased.find((one) => one.slot.name === nameOf(slot))?.record
      if (record !== undefined)
        this.#leases.adopt(sandbox, slot, record, this.#parts.resumeWithinMs ?? RESUME_WITHIN_MS)
      else if (slot.state === 'releasing') void this.#keeping.clean(slot, 'clean')
    })
    this.#leases.record(sandbox)
    this.#changed()
  }

  #onGrant(waiter: Waiter, slot: LedgerSlot<PoolSandbox>): void {
    waiter.done()
    waiter.resolve(this.#leases.grant(slot, waiter))
    this.#fleet.leasesChanged(slot.group)
  }

  #onLost(sandbox: PoolSandbox, error: AnyplaceError): void {
    this.#parts.onEvent?.({ kind: 'sandbox-lost', sandbox: sandbox.name, reason: error.message })
    this.#ledger.removeGroup(sandbox)
    this.#leases.lose(sandbox, error)
    this.#changed()
  }

  #onFailed(error: AnyplaceError): void {
    this.#parts.onEvent?.({ kind: 'open-failed', reason: error.message })
    this.#firstFailure = error
    if (this.#fleet.sandboxes.size === 0) {
      // Nothing that is there will ever serve them.
      for (const waiter of this.#ledger.dismiss()) {
        waiter.done()
        waiter.reject(error)
      }
    }
    this.#changed()
  }

  async #endLease(
    holding: Holding,
    why: AnyplaceError,
    reset?: boolean | ResetStrategy,
  ): Promise<ResetReport | undefined> {
    this.#leases.end(holding, why)
    const { reset: usual } = this.#parts.loaded.profile
    const strategy = reset === true ? (usual === 'none' ? 'clean' : usual) : reset === false ? 'none' : (reset ?? usual)
    this.#ledger.event(holding.slot, 'release')
    this.#leases.record(holding.sandbox)
    const report = this.#keeping.clean(holding.slot, strategy, holding)
    this.#fleet.leasesChanged(holding.sandbox)
    return report
  }

  #tooLate(timeoutMs: number): AnyplaceError {
    const { sandboxes, starting, lastFailure } = this.#fleet
    const { maxSandboxes } = this.#parts.loaded.profile
    const failure = lastFailure === undefined ? '' : `; the last sandbox could not be opened: ${lastFailure.message}`
    return new AnyplaceError(
      'timeout',
      `No slot of pool ${this.name} was free within ${timeoutMs} ms (sandboxes: ${sandboxes.size}/${maxSandboxes}, ` +
        `${starting} starting, ${this.#leases.size} slots held)${failure}.`,
      { hint: 'release leases, or raise maxSandboxes or acquireTimeoutMs', cause: lastFailure },
    )
  }

  #changed(): void {
    const waiting = this.#whenChanged
    this.#whenChanged = []
    for (const resolve of waiting) resolve()
  }
}

function stopped(name: string): AnyplaceError {
  return new AnyplaceError('cancelled', `Pool ${name} was stopped.`)
}
