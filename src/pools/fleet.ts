import { debuglog } from 'node:util'
import { AnyplaceError } from '../spec/index.ts'
import type { ErrorCode } from '../spec/index.ts'
import { deadlineSignal } from '../kit/deadline.ts'
import type { Claim, Claims } from './claims.ts'
import { openPoolSandbox } from './open-pool-sandbox.ts'
import type { OpenedSandbox, SandboxFactory } from './open-pool-sandbox.ts'
import type { PoolSandbox } from './pool-sandbox.ts'
import { StartGate } from './start-gate.ts'
import { giveBackUidUnits } from './uid-units.ts'

const debug = debuglog('anyplace:pools')
/** How often each sandbox is asked whether it lives, and how long it has to answer. Its end is told at once without asking. */
const CHECK_INTERVAL_MS = 3000
const CHECK_DEADLINE_MS = 8000
const MISSED_CHECKS = 2
const FIRST_RETRY_MS = 250
const LONGEST_RETRY_MS = 15_000
/** How long one sandbox may take to come up. */
const OPEN_DEADLINE_MS = 900_000
/** A sandbox is drained this part of its lifetime before its end, and up to as much again earlier. */
const DRAIN_PART = 0.1
const LONGEST_DRAIN_MS = 300_000

/** Failures of one sandbox that say nothing about the next: it died while it was opened, or somebody was faster. */
const PASSING: readonly ErrorCode[] = ['sandbox-gone', 'sandbox-not-found', 'conflict']

/** What the fleet tells the pool, and asks of it. */
export interface FleetEvents {
  /** A sandbox is there. */
  opened(opened: OpenedSandbox): void
  /** It gets no new leases; it is closed once it has none. */
  draining(sandbox: PoolSandbox): void
  /** It has gone, with all that was in it. */
  lost(sandbox: PoolSandbox, error: AnyplaceError): void
  /** Nothing could be opened, and trying again would not help. */
  failed(error: AnyplaceError): void
  /** Waiters that no slot in sight will serve. */
  unserved(): number
}

/**
 * The sandboxes of a pool: opens them on demand up to the maximum, keeps the minimum, ends the idle ones, drains the old
 * ones, notices the dead ones. Nothing waits while one is opened.
 */
export class Fleet {
  readonly #factory: SandboxFactory
  readonly #claims: Claims
  readonly #events: FleetEvents
  readonly #gate: StartGate
  readonly #sandboxes = new Set<PoolSandbox>()
  readonly #places = new Set<number>()
  readonly #opening = new Set<Promise<void>>()
  readonly #closing = new Set<Promise<void>>()
  readonly #stop = new AbortController()
  #retryMs = FIRST_RETRY_MS
  #retryTimer: NodeJS.Timeout | undefined
  #checkTimer: NodeJS.Timeout | undefined
  #isActive = false
  /** The last failure is one that trying again does not mend. */
  #isBlocked = false
  #hasOpened = false
  /** Why the last one could not be opened; for messages. */
  lastFailure: AnyplaceError | undefined

  constructor(factory: SandboxFactory, claims: Claims, events: FleetEvents) {
    this.#factory = factory
    this.#claims = claims
    this.#events = events
    const { maxStarting, createPerSecond } = factory.loaded.profile
    this.#gate = new StartGate({ maxStarting, perSecond: createPerSecond })
  }

  get sandboxes(): ReadonlySet<PoolSandbox> {
    return this.#sandboxes
  }

  get starting(): number {
    return this.#gate.starting
  }

  /** Takes over what earlier controllers left, then sees to the minimum. Resolves when what was left is found. */
  async start(): Promise<void> {
    this.#isActive = true
    clearInterval(this.#checkTimer)
    this.#checkTimer = setInterval(() => this.#checkAll(), CHECK_INTERVAL_MS)
    this.#checkTimer.unref()
    const left = []
    for (const entry of await this.#claims.list()) {
      if ((await this.#claims.standing(entry.record)) === 'free') left.push(entry)
    }
    await Promise.all(
      left.map(async (entry) => {
        // One that its controller never finished opening is made anew when it is needed.
        if (entry.record.sandboxId === '' || entry.record.expiresAtMs <= Date.now()) return
        const claim = await this.#claims.takeOver(entry)
        if (claim === undefined || this.#places.has(claim.place)) return
        this.#places.add(claim.place)
        await this.#open(claim, entry.record.isSettled).catch((error: unknown) => this.#onFailure(error))
      }),
    )
    this.grow()
  }

  /** As {@link grow}, for somebody who asks anew: also after a failure that was for good. */
  wake(): void {
    this.#isBlocked = false
    this.grow()
  }

  /** Opens as many sandboxes as are needed and allowed now. Returns at once. */
  grow(): void {
    if (!this.#isActive || this.#isBlocked || this.#stop.signal.aborted || this.#retryTimer !== undefined) return
    const { minSandboxes, maxSandboxes, slotsPerSandbox } = this.#factory.loaded.profile
    for (;;) {
      const usable = [...this.#sandboxes].filter(({ isDraining }) => !isDraining).length
      const coming = this.#gate.starting
      const isWanted = usable + coming < minSandboxes || this.#events.unserved() > coming * slotsPerSandbox
      if (!isWanted || this.#sandboxes.size + coming >= maxSandboxes) return
      const waitMs = this.#gate.tryBegin()
      if (waitMs === Infinity) return
      if (waitMs > 0) return this.#retryIn(waitMs)
      const work = this.#begin()
        .catch((error: unknown) => this.#onFailure(error))
        .finally(() => {
          this.#gate.done()
          this.#opening.delete(work)
          this.grow()
        })
      this.#opening.add(work)
    }
  }

  /** Called when a sandbox has lost its last lease, and when it gets one. */
  leasesChanged(sandbox: PoolSandbox): void {
    clearTimeout(sandbox.idleTimer)
    sandbox.idleTimer = undefined
    if (sandbox.held > 0 || !this.#sandboxes.has(sandbox) || this.#stop.signal.aborted) return
    if (sandbox.isDraining) return this.#end(sandbox)
    sandbox.idleTimer = setTimeout(() => this.#onIdle(sandbox), this.#factory.loaded.profile.idleTimeoutMs)
    sandbox.idleTimer.unref()
  }

  /** No new leases for it; it ends once it has none. */
  drain(sandbox: PoolSandbox): void {
    if (sandbox.isDraining || !this.#sandboxes.has(sandbox)) return
    sandbox.isDraining = true
    this.#events.draining(sandbox)
    if (sandbox.held === 0) this.#end(sandbox)
    this.grow()
  }

  /** Opens nothing more; what is being opened is given up. */
  halt(): void {
    this.#stop.abort(new AnyplaceError('cancelled', 'The pool was stopped.'))
  }

  /**
   * Stops opening and watching. With `purge` everything is ended; without, the sandboxes live on for the next controller.
   *
   * @param isClean whether all slots of a sandbox that have no lease are clean, as the next controller should know
   */
  async stop(purge: boolean, isClean: (sandbox: PoolSandbox) => boolean): Promise<void> {
    this.halt()
    clearInterval(this.#checkTimer)
    clearTimeout(this.#retryTimer)
    await Promise.all([...this.#opening, ...this.#closing])
    const failures: unknown[] = []
    await Promise.all(
      [...this.#sandboxes].map(async (sandbox) => {
        sandbox.clearTimers()
        this.#sandboxes.delete(sandbox)
        try {
          if (purge) return await sandbox.close()
          sandbox.claim.update({ owner: null, isSettled: isClean(sandbox) })
          await sandbox.claim.written()
          await sandbox.box.detach()
        } catch (error) {
          failures.push(error)
        }
      }),
    )
    if (failures.length > 0) throw failures[0]
  }

  /** Ends what other controllers left and nobody owns. Gives the names of those that a living controller has. */
  async purgeLeft(): Promise<{ readonly removed: readonly string[]; readonly taken: readonly string[] }> {
    const [removed, taken]: [string[], string[]] = [[], []]
    const { source, loaded } = this.#factory
    for (const entry of await this.#claims.list()) {
      const { name } = entry.record
      const claim =
        (await this.#claims.standing(entry.record)) === 'free' ? await this.#claims.takeOver(entry) : undefined
      if (claim === undefined) {
        taken.push(name)
        continue
      }
      const where = loaded.profile.on === undefined ? {} : { on: loaded.profile.on }
      await source.remove(name, where).catch((error: unknown) => {
        if (!AnyplaceError.is(error, 'sandbox-not-found')) throw error
      })
      await claim.forget()
      removed.push(name)
    }
    return { removed, taken }
  }

  async #begin(): Promise<void> {
    const taken = await this.#nextClaim()
    if (taken === undefined) {
      // Others have every place: look again later, for as long as somebody waits.
      this.#retryIn(this.#nextRetryMs())
      return
    }
    await this.#open(taken.claim, taken.settled)
  }

  async #nextClaim(): Promise<{ readonly claim: Claim; readonly settled: boolean } | undefined> {
    const { maxSandboxes, maxLifetimeMs } = this.#factory.loaded.profile
    const known = new Map((await this.#claims.list()).map((entry) => [entry.place, entry]))
    for (let place = 0; place < maxSandboxes; place++) {
      if (this.#places.has(place)) continue
      const entry = known.get(place)
      this.#places.add(place)
      let claim: Claim | undefined
      try {
        if (entry === undefined) {
          claim = await this.#claims.begin(place, `${this.#factory.pool}-${place}`, Date.now() + maxLifetimeMs)
        } else if ((await this.#claims.standing(entry.record)) === 'free') claim = await this.#claims.takeOver(entry)
      } finally {
        if (claim === undefined) this.#places.delete(place)
      }
      if (claim !== undefined) return { claim, settled: entry?.record.isSettled ?? false }
    }
    return undefined
  }

  async #open(claim: Claim, settled: boolean): Promise<void> {
    debug('opening %s', claim.record.name)
    try {
      const signal = deadlineSignal(OPEN_DEADLINE_MS, this.#stop.signal)
      const opened = await openPoolSandbox(this.#factory, claim, settled, { signal })
      const { sandbox } = opened
      if (this.#stop.signal.aborted) {
        await sandbox.close()
        return
      }
      this.#sandboxes.add(sandbox)
      this.#retryMs = FIRST_RETRY_MS
      this.#hasOpened = true
      this.lastFailure = undefined
      this.#watch(sandbox)
      this.#events.opened(opened)
      this.leasesChanged(sandbox)
    } catch (error) {
      this.#places.delete(claim.place)
      await this.#letGo(claim, error).catch(() => undefined)
      throw error
    }
  }

  /** A sandbox that may be there still keeps its record, for the next try. */
  async #letGo(claim: Claim, error: unknown): Promise<void> {
    const isGone = AnyplaceError.is(error, 'sandbox-gone') || AnyplaceError.is(error, 'sandbox-not-found')
    if (claim.record.sandboxId !== '' && !isGone) {
      claim.update({ owner: null })
      await claim.written()
    } else {
      await giveBackUidUnits(this.#factory.store, claim.record.uidUnits)
      await claim.forget()
    }
  }

  #watch(sandbox: PoolSandbox): void {
    void sandbox.box.session.closed.then((error) => {
      if (error !== undefined) this.#lose(sandbox, asError(error))
    })
    void sandbox.claim.lost.then((error) => this.#lose(sandbox, error))
    const lifetimeMs = sandbox.expiresAtMs - sandbox.createdAtMs
    const leadMs = Math.min(lifetimeMs * DRAIN_PART, LONGEST_DRAIN_MS) * (1 + Math.random())
    const inMs = Math.max(0, sandbox.expiresAtMs - leadMs - Date.now())
    sandbox.drainTimer = setTimeout(() => this.drain(sandbox), Math.min(inMs, 2 ** 31 - 1))
    sandbox.drainTimer.unref()
  }

  #lose(sandbox: PoolSandbox, error: AnyplaceError): void {
    if (!this.#sandboxes.delete(sandbox)) return
    debug('lost %s: %s', sandbox.name, error.code)
    sandbox.clearTimers()
    this.#events.lost(sandbox, error)
    // What is left of it goes, unless it is another controller's now.
    const remains = AnyplaceError.is(error, 'conflict') ? sandbox.box.detach() : sandbox.close()
    this.#track(sandbox, remains)
    this.grow()
  }

  #end(sandbox: PoolSandbox): void {
    if (!this.#sandboxes.delete(sandbox)) return
    debug('ending %s', sandbox.name)
    this.#events.lost(sandbox, new AnyplaceError('sandbox-gone', `Sandbox ${sandbox.name} was ended by its pool.`))
    this.#track(sandbox, sandbox.close())
  }

  #track(sandbox: PoolSandbox, closing: Promise<void>): void {
    const work = closing
      .catch((error: unknown) => debug('%s could not be removed: %s', sandbox.name, error))
      .finally(() => {
        this.#places.delete(sandbox.claim.place)
        this.#closing.delete(work)
        this.grow()
      })
    this.#closing.add(work)
  }

  #onIdle(sandbox: PoolSandbox): void {
    if (sandbox.held > 0 || sandbox.isDraining || this.#stop.signal.aborted) return
    const usable = [...this.#sandboxes].filter(({ isDraining }) => !isDraining).length
    if (usable > this.#factory.loaded.profile.minSandboxes && this.#events.unserved() === 0) this.drain(sandbox)
    else this.leasesChanged(sandbox)
  }

  #onFailure(error: unknown): void {
    if (this.#stop.signal.aborted) return
    const failure = asError(error)
    debug('could not open: %s', failure.message)
    this.lastFailure = failure
    // An engine that never answered is not there; one that did may come back.
    const isAbsent = failure.code === 'engine-unavailable' && !this.#hasOpened
    const isHopeless = isAbsent || (!failure.retryable && !PASSING.includes(failure.code))
    if (!isHopeless) this.#retryIn(this.#nextRetryMs())
    else {
      this.#isBlocked = true
      this.#events.failed(failure)
    }
  }

  #nextRetryMs(): number {
    const waitMs = this.#retryMs
    this.#retryMs = Math.min(this.#retryMs * 2, LONGEST_RETRY_MS)
    return waitMs
  }

  #retryIn(waitMs: number): void {
    if (this.#stop.signal.aborted || this.#retryTimer !== undefined) return
    this.#retryTimer = setTimeout(() => {
      this.#retryTimer = undefined
      this.grow()
    }, waitMs)
    this.#retryTimer.unref()
  }

  #checkAll(): void {
    for (const sandbox of this.#sandboxes) void this.#check(sandbox)
  }

  async #check(sandbox: PoolSandbox): Promise<void> {
    if (sandbox.isChecking) return
    sandbox.isChecking = true
    try {
      await sandbox.box.session.info({ signal: deadlineSignal(CHECK_DEADLINE_MS, this.#stop.signal) })
      sandbox.missedChecks = 0
    } catch (error) {
      if (this.#stop.signal.aborted) return
      const isGone = AnyplaceError.is(error, 'sandbox-gone')
      if (isGone || ++sandbox.missedChecks >= MISSED_CHECKS) {
        this.#lose(
          sandbox,
          isGone
            ? error
            : new AnyplaceError('sandbox-gone', `Sandbox ${sandbox.name} does not answer.`, { cause: error }),
        )
      }
    } finally {
      sandbox.isChecking = false
    }
  }
}

function asError(error: unknown): AnyplaceError {
  if (AnyplaceError.is(error)) return error
  return new AnyplaceError('internal', error instanceof Error ? error.message : String(error), { cause: error })
}
