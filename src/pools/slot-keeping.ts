import { setTimeout as sleep } from 'node:timers/promises'
import { AnyplaceError } from '../spec/index.ts'
import type { ResetReport } from '../spec/index.ts'
import { deadlineSignal } from '../kit/deadline.ts'
import { nameOf } from './lease-book.ts'
import type { PoolSandbox } from './pool-sandbox.ts'
import type { ResetStrategy } from './profile.ts'
import type { LedgerSlot, SlotLedger } from './slot-ledger.ts'

/** A slot that was used is scanned once it has been idle for this long. */
const SCAN_AFTER_MS = 2000
/** A reset that takes longer has failed. */
const RESET_DEADLINE_MS = 60_000
/** How long to wait for calls that were killed before killing again. */
const SETTLE_MS = 100
/** A sandbox with this many slots given up is no good any more. */
const HOPELESS_PART = 0.5

export interface KeepingEvents {
  onQuarantine(slotId: string, left: readonly string[]): void
  /** Too many slots of a sandbox could not be made clean. */
  onHopeless(sandbox: PoolSandbox): void
}

/** What is still running in a slot that is given back. */
export interface Unfinished {
  readonly outstanding: number
  readonly tail: Promise<unknown> | undefined
}

const NOTHING: Unfinished = { outstanding: 0, tail: undefined }

/**
 * Makes slots clean between two leases, verified, and replaces those that do not get clean. Slots that were used are also
 * looked for in the whole sandbox, in the background, while nobody needs them.
 */
export class SlotKeeping<Waiter = unknown> {
  readonly #ledger: SlotLedger<PoolSandbox, Waiter>
  readonly #events: KeepingEvents
  readonly #work = new Set<Promise<unknown>>()
  readonly #toScan = new Set<LedgerSlot<PoolSandbox>>()
  readonly #stop = new AbortController()
  #scan: AbortController | undefined
  #scanTimer: NodeJS.Timeout | undefined
  #cleaning = 0
  #quarantined = 0

  constructor(ledger: SlotLedger<PoolSandbox, Waiter>, events: KeepingEvents) {
    this.#ledger = ledger
    this.#events = events
  }

  /** Slots that are being made clean and will be free soon. */
  get cleaning(): number {
    return this.#cleaning
  }

  /** Slots that were given up, ever. */
  get quarantined(): number {
    return this.#quarantined
  }

  /**
   * Makes a slot that is `releasing` clean and hands it on, or gives it up. Never rejects.
   *
   * @param unfinished calls that were given to the slot and have not ended: they are killed until none is left, so that no
   *   late command of one lease runs in the next
   * @returns undefined when the sandbox went meanwhile
   */
  clean(
    slot: LedgerSlot<PoolSandbox>,
    strategy: ResetStrategy,
    unfinished: Unfinished = NOTHING,
  ): Promise<ResetReport | undefined> {
    this.#cleaning++
    const work = this.#clean(slot, strategy, unfinished).finally(() => {
      this.#work.delete(work)
    })
    this.#work.add(work)
    return work
  }

  /** Stops looking in the background, so that the slot can be used: somebody waits. */
  giveWay(): void {
    this.#scan?.abort()
  }

  stop(): void {
    this.#stop.abort()
    clearTimeout(this.#scanTimer)
    this.#scan?.abort()
  }

  /** Resolves when nothing is being cleaned. */
  async idle(): Promise<void> {
    while (this.#work.size > 0) await Promise.all(this.#work)
  }

  async #clean(
    slot: LedgerSlot<PoolSandbox>,
    strategy: ResetStrategy,
    unfinished: Unfinished,
  ): Promise<ResetReport | undefined> {
    const sandbox = slot.group
    const name = nameOf(slot)
    let report: ResetReport | undefined
    let left: readonly string[] = []
    const signal = deadlineSignal(RESET_DEADLINE_MS)
    try {
      // Proves that the sandbox is still ours: a slot that is another controller's by now must not be touched.
      await sandbox.claim.written()
      while (unfinished.outstanding > 0) {
        await sandbox.reset(name, 'none', { signal })
        await Promise.race([unfinished.tail, sleep(SETTLE_MS)])
      }
      report = await sandbox.reset(name, strategy, { signal })
      left = report.left.map(({ what }) => what)
    } catch (error) {
      left = [error instanceof Error ? error.message : String(error)]
      if (AnyplaceError.is(error, 'sandbox-gone') || slot.state !== 'releasing') return undefined
    } finally {
      this.#cleaning--
    }
    if (slot.state !== 'releasing') return report
    if (report?.isClean) {
      this.#ledger.event(slot, 'clean')
      this.#scanLater(slot)
    } else await this.#giveUp(slot, left)
    return report
  }

  async #giveUp(slot: LedgerSlot<PoolSandbox>, left: readonly string[]): Promise<void> {
    const sandbox = slot.group
    this.#ledger.event(slot, 'dirty')
    this.#quarantined++
    sandbox.givenUp++
    this.#events.onQuarantine(slot.id, left)
    if (sandbox.givenUp >= Math.max(2, this.#ledger.slotsOf(sandbox).length * HOPELESS_PART)) {
      this.#events.onHopeless(sandbox)
      return
    }
    try {
      const fresh = await sandbox.replace(nameOf(slot))
      this.#ledger.replaceSlot(slot, { id: sandbox.slotId(fresh.name), index: slot.index })
    } catch {
      // It stays given up; the sandbox is ended once there are too many of them.
    }
  }

  #scanLater(slot: LedgerSlot<PoolSandbox>): void {
    if (this.#stop.signal.aborted) return
    this.#toScan.add(slot)
    if (this.#scanTimer !== undefined) return
    this.#scanTimer = setTimeout(() => {
      this.#scanTimer = undefined
      void this.#scanNext()
    }, SCAN_AFTER_MS)
    this.#scanTimer.unref()
  }

  /** One slot at a time: it reads the whole file system. */
  async #scanNext(): Promise<void> {
    if (this.#scan !== undefined || this.#stop.signal.aborted) return
    const slot = [...this.#toScan].find(({ state }) => state === 'available')
    for (const other of this.#toScan) if (other.state === 'error') this.#toScan.delete(other)
    if (slot !== undefined && this.#ledger.waiting === 0) {
      this.#toScan.delete(slot)
      const scan = (this.#scan = new AbortController())
      const work = this.#inspect(slot, scan.signal).finally(() => {
        this.#scan = undefined
        this.#work.delete(work)
      })
      this.#work.add(work)
      await work
    }
    const [next] = this.#toScan
    if (next !== undefined) this.#scanLater(next)
  }

  async #inspect(slot: LedgerSlot<PoolSandbox>, signal: AbortSignal): Promise<void> {
    this.#ledger.event(slot, 'inspect')
    let left: readonly string[] = []
    let wasSeen = false
    try {
      const report = await slot.group.slots.scan(nameOf(slot), { signal })
      left = report.left.map(({ what }) => what)
      wasSeen = true
    } catch (error) {
      // Interrupted, or not possible now: it was verified when it was reset.
      if (AnyplaceError.is(error, 'sandbox-gone')) return
    }
    if (slot.state !== 'releasing') return
    if (left.length > 0) return this.#giveUp(slot, left)
    this.#ledger.event(slot, 'clean')
    if (!wasSeen) this.#toScan.add(slot)
  }
}
