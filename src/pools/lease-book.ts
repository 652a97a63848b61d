import { AnyplaceError } from '../spec/index.ts'
import { newId } from '../kit/ids.ts'
import type { Holding } from './holding.ts'
import { Lease } from './lease.ts'
import type { LeaseReference } from './pool-options.ts'
import type { PoolSandbox } from './pool-sandbox.ts'
import type { LeaseRecord } from './sandbox-record.ts'
import type { LedgerSlot } from './slot-ledger.ts'

const LONGEST_TIMER_MS = 2 ** 31 - 1

export interface LeaseBookEvents {
  readonly profile: string
  release(lease: Lease): Promise<void>
  /** The lease is past its deadline; nobody has ended it yet. */
  onDeadline(holding: Holding): void
}

/** The leases of a pool that hold now: in memory, and through the sandboxes' claims in the store. */
export class LeaseBook {
  readonly #events: LeaseBookEvents
  readonly #held = new Map<string, Holding>()

  constructor(events: LeaseBookEvents) {
    this.#events = events
  }

  get size(): number {
    return this.#held.size
  }

  all(): readonly Holding[] {
    return [...this.#held.values()]
  }

  /** @throws AnyplaceError why the lease does not hold; `conflict` when the slot is another's */
  get(reference: Lease | LeaseReference): Holding {
    const holding = this.#held.get(reference.slotId)
    if (holding !== undefined && holding.lease.id === reference.id && holding.lease.token === reference.token) {
      return holding
    }
    if (reference instanceof Lease && reference.ended !== undefined) throw reference.ended
    throw new AnyplaceError('conflict', `Slot ${reference.slotId} is not held by lease ${reference.id}.`, {
      hint: 'only the holder of a lease can use and release it',
      data: { slotId: reference.slotId, leaseId: reference.id },
    })
  }

  /** A new lease of a slot that was just acquired. It is on disk soon; `Holding.isRecorded` says when. */
  grant(
    slot: LedgerSlot<PoolSandbox>,
    request: { readonly trajectoryId: string; readonly tenant: string; readonly leaseMs: number | undefined },
  ): Lease {
    const sandbox = slot.group
    const now = Date.now()
    const token = sandbox.claim.record.sequence + 1
    const { trajectoryId, tenant, leaseMs } = request
    const record: LeaseRecord = {
      id: newId(),
      slot: nameOf(slot),
      trajectoryId,
      tenant,
      token,
      acquiredAtMs: now,
      deadlineMs: Math.min(leaseMs === undefined ? Infinity : now + leaseMs, sandbox.expiresAtMs),
    }
    const holding = this.#hold(slot, record, false)
    if (leaseMs !== undefined) this.#arm(holding, record.deadlineMs)
    this.record(sandbox, token)
    return holding.lease
  }

  /** A lease that an earlier controller gave out; it is taken back unless somebody resumes it in time. */
  adopt(sandbox: PoolSandbox, slot: LedgerSlot<PoolSandbox>, record: LeaseRecord, resumeWithinMs: number): void {
    const holding = this.#hold(slot, record, true)
    holding.isRecorded = true
    this.#arm(holding, Math.min(record.deadlineMs, Date.now() + resumeWithinMs))
  }

  /** The recovered lease of a trajectory, now with its own deadline again. */
  resume(trajectoryId: string): Lease | undefined {
    for (const holding of this.#held.values()) {
      const { lease } = holding
      if (lease.trajectoryId !== trajectoryId || !lease.isRecovered) continue
      this.#arm(holding, lease.deadline.getTime())
      return lease
    }
    return undefined
  }

  renew(holding: Holding, leaseMs: number): Date {
    if (!(leaseMs > 0)) {
      throw new AnyplaceError('invalid-argument', `leaseMs must be above 0 (got ${leaseMs}).`, { field: 'leaseMs' })
    }
    const deadlineMs = Math.min(Date.now() + leaseMs, holding.sandbox.expiresAtMs)
    holding.lease.moveDeadline(deadlineMs)
    this.#arm(holding, deadlineMs)
    this.record(holding.sandbox)
    return new Date(deadlineMs)
  }

  /** The lease is over. What happens to its slot is the caller's matter. */
  end(holding: Holding, why: AnyplaceError): void {
    clearTimeout(holding.timer)
    this.#held.delete(holding.lease.slotId)
    holding.sandbox.leases.delete(holding.name)
    holding.sandbox.held--
    holding.lease.end(why)
    holding.shell?.kill().catch(() => undefined)
  }

  /** A sandbox has gone with all its leases. */
  lose(sandbox: PoolSandbox, error: AnyplaceError): void {
    for (const holding of this.all()) if (holding.sandbox === sandbox) this.end(holding, error)
  }

  endAll(why: AnyplaceError): void {
    for (const holding of this.all()) this.end(holding, why)
  }

  /** Writes the sandbox's leases down, soon. */
  record(sandbox: PoolSandbox, sequence: number = sandbox.claim.record.sequence): void {
    sandbox.claim.update({ sequence, leases: [...sandbox.leases.values()].map(({ record }) => record) })
  }

  #hold(slot: LedgerSlot<PoolSandbox>, record: LeaseRecord, isRecovered: boolean): Holding {
    const sandbox = slot.group
    const { home, uid, isolation } = sandbox.slot(record.slot)
    const lease = new Lease({
      record,
      slotId: slot.id,
      sandbox: sandbox.name,
      profile: this.#events.profile,
      isolation,
      home,
      uid,
      isRecovered,
      release: this.#events.release,
    })
    const holding: Holding = {
      lease,
      sandbox,
      slot,
      name: record.slot,
      isRecorded: false,
      outstanding: 0,
      tail: undefined,
      shell: undefined,
      timer: undefined,
    }
    this.#held.set(slot.id, holding)
    sandbox.leases.set(record.slot, lease)
    sandbox.held++
    return holding
  }

  #arm(holding: Holding, atMs: number): void {
    clearTimeout(holding.timer)
    const inMs = Math.max(0, atMs - Date.now())
    if (inMs > LONGEST_TIMER_MS) return
    holding.timer = setTimeout(() => {
      if (holding.lease.ended === undefined) this.#events.onDeadline(holding)
    }, inMs)
    holding.timer.unref()
  }
}

/** A slot's name in its sandbox. */
export function nameOf(slot: LedgerSlot<PoolSandbox>): string {
  return slot.id.slice(slot.id.indexOf('/') + 1)
}
