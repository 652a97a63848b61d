import type { AnyplaceError, SlotIsolation } from '../spec/index.ts'
import type { LeaseRecord } from './sandbox-record.ts'

/** What a lease is made of. The pool makes them. */
export interface LeaseParts {
  readonly record: LeaseRecord
  readonly slotId: string
  readonly sandbox: string
  readonly profile: string
  readonly isolation: SlotIsolation
  readonly home: string
  readonly uid: number
  /** True when it was found in the store after a restart. */
  readonly isRecovered: boolean
  release(lease: Lease): Promise<void>
}

/** The right of one trajectory to one slot. `await using` gives the slot back. */
export class Lease implements AsyncDisposable {
  readonly #parts: LeaseParts
  #deadlineMs: number
  #end: AnyplaceError | undefined
  #abort: AbortController | undefined

  constructor(parts: LeaseParts) {
    this.#parts = parts
    this.#deadlineMs = parts.record.deadlineMs
  }

  /** Unique across pools and controllers. */
  get id(): string {
    return this.#parts.record.id
  }

  /** The slot; unique across pools and controllers, and never used again for another one. */
  get slotId(): string {
    return this.#parts.slotId
  }

  get trajectoryId(): string {
    return this.#parts.record.trajectoryId
  }

  get tenant(): string {
    return this.#parts.record.tenant
  }

  get profile(): string {
    return this.#parts.profile
  }

  /** Name of the sandbox that the slot is in. */
  get sandbox(): string {
    return this.#parts.sandbox
  }

  /** Fencing token: grows with each lease of the sandbox. */
  get token(): number {
    return this.#parts.record.token
  }

  /** The level in force between this slot and its neighbours. */
  get isolation(): SlotIsolation {
    return this.#parts.isolation
  }

  /** The slot's directory, absolute in the sandbox; commands start there. */
  get home(): string {
    return this.#parts.home
  }

  get uid(): number {
    return this.#parts.uid
  }

  get acquiredAt(): Date {
    return new Date(this.#parts.record.acquiredAtMs)
  }

  /** When the slot is taken back whatever happens. */
  get deadline(): Date {
    return new Date(this.#deadlineMs)
  }

  /** True when a controller that was started again found it in the store. */
  get isRecovered(): boolean {
    return this.#parts.isRecovered
  }

  /** Why it is over; undefined while it holds. */
  get ended(): AnyplaceError | undefined {
    return this.#end
  }

  /** Aborted when the lease is over: given back, past its deadline, or its sandbox has gone. */
  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      this.#abort = new AbortController()
      if (this.#end !== undefined) this.#abort.abort(this.#end)
    }
    return this.#abort.signal
  }

  /** What another process needs to know of it. */
  toJSON(): object {
    const { id, slotId, trajectoryId, tenant, profile, sandbox, token, isolation, home, uid } = this
    const times = { acquiredAt: this.acquiredAt.toISOString(), deadline: this.deadline.toISOString() }
    return { id, slotId, trajectoryId, tenant, profile, sandbox, token, isolation, home, uid, ...times }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#parts.release(this)
  }

  /** For the pool only. */
  end(reason: AnyplaceError): void {
    if (this.#end !== undefined) return
    this.#end = reason
    this.#abort?.abort(reason)
  }

  /** For the pool only. */
  moveDeadline(deadlineMs: number): void {
    this.#deadlineMs = deadlineMs
  }

  /** For the pool only. */
  get record(): LeaseRecord {
    return { ...this.#parts.record, deadlineMs: this.#deadlineMs }
  }
}
