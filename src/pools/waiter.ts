import type { AnyplaceError } from '../spec/index.ts'
import { abortError } from '../kit/deadline.ts'
import type { Lease } from './lease.ts'
import type { Ticket } from './fair-queue.ts'

/** One call of `acquire` that has no slot yet. */
export class Waiter {
  readonly trajectoryId: string
  readonly tenant: string
  readonly leaseMs: number | undefined
  readonly lease: Promise<Lease>
  resolve: (lease: Lease) => void = () => undefined
  reject: (error: AnyplaceError) => void = () => undefined
  #cleanUp: () => void = () => undefined

  constructor(request: { trajectoryId: string; tenant: string; leaseMs: number | undefined }) {
    this.trajectoryId = request.trajectoryId
    this.tenant = request.tenant
    this.leaseMs = request.leaseMs
    this.lease = new Promise((resolve, reject) => {
      this.resolve = resolve
      this.reject = reject
    })
  }

  /** Sets the limits of the wait. `leave` takes it out of the line and is false when it has its slot already. */
  limit(
    ticket: Ticket<Waiter>,
    limits: { timeoutMs: number; signal: AbortSignal | undefined; why: () => AnyplaceError },
    leave: (ticket: Ticket<Waiter>) => boolean,
  ): void {
    const give = (error: AnyplaceError): void => {
      this.#cleanUp()
      if (leave(ticket)) this.reject(error)
    }
    const { timeoutMs, signal } = limits
    const onAbort = (): void => {
      if (signal !== undefined) give(abortError(signal))
    }
    const timer = timeoutMs > 2 ** 31 - 1 ? undefined : setTimeout(() => give(limits.why()), timeoutMs)
    signal?.addEventListener('abort', onAbort, { once: true })
    this.#cleanUp = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
    }
  }

  /** Its wait is over, with or without a slot. */
  done(): void {
    this.#cleanUp()
  }
}
