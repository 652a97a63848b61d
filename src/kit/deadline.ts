import { AnyplaceError } from '../spec/index.ts'

/** Timers of the platform cannot wait longer; a longer deadline is none. */
const LONGEST_TIMER_MS = 2 ** 31 - 1

/**
 * The error that an aborted call rejects with: `timeout` when the signal's reason is a TimeoutError (as from
 * {@link deadlineSignal} or `AbortSignal.timeout`), else `cancelled`. A reason that is already an AnyplaceError is given as it is.
 */
export function abortError(signal: AbortSignal): AnyplaceError {
  const reason: unknown = signal.reason
  if (AnyplaceError.is(reason)) return reason
  if (reason instanceof Error && reason.name === 'TimeoutError') {
    return new AnyplaceError('timeout', 'The call ran into its deadline.', { cause: reason })
  }
  return new AnyplaceError('cancelled', 'The call was cancelled.', { cause: reason })
}

/** @throws AnyplaceError as {@link abortError} gives it when the signal is aborted */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw abortError(signal)
}

/**
 * Waits for the promise or for the signal, whichever comes first. The work behind the promise goes on: end it yourself.
 * Its later failure is swallowed, so nothing is left unhandled.
 *
 * @throws AnyplaceError as {@link abortError} gives it when the signal came first
 */
export function untilAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise
  return new Promise<T>((resolve, reject) => {
    const onAbort = (): void => {
      reject(abortError(signal))
    }
    signal.addEventListener('abort', onAbort, { once: true })
    promise.then(resolve, reject).finally(() => {
      signal.removeEventListener('abort', onAbort)
    })
    if (signal.aborted) onAbort()
  })
}

/** What `AbortSignal.any` of Node 20 holds only weakly: a deadline that nobody else holds would be collected and never pass. */
const sources = new WeakMap<AbortSignal, readonly AbortSignal[]>()

/** A signal that aborts with the first of these. */
export function firstOf(...signals: readonly AbortSignal[]): AbortSignal {
  const first = AbortSignal.any([...signals])
  sources.set(first, signals)
  return first
}

/**
 * A signal that aborts with a TimeoutError after `timeoutMs`, or with the reason of `signal` when that aborts first.
 * It keeps no process alive. More than 24.8 days, or Infinity, sets no deadline.
 *
 * @throws AnyplaceError `invalid-argument` when timeoutMs is negative or not a number
 */
export function deadlineSignal(timeoutMs: number, signal?: AbortSignal): AbortSignal {
  if (!(timeoutMs >= 0)) {
    throw new AnyplaceError('invalid-argument', `timeoutMs must be 0 or more (got ${timeoutMs}).`, {
      field: 'timeoutMs',
    })
  }
  if (timeoutMs > LONGEST_TIMER_MS) return signal ?? new AbortController().signal
  const deadline = AbortSignal.timeout(Math.ceil(timeoutMs))
  return signal === undefined ? deadline : firstOf(signal, deadline)
}
