import type { AnyplaceError, CallOptions } from '../spec/index.ts'
import { abortError, throwIfAborted } from '../kit/deadline.ts'
import type { DaemonConnection } from './connection.ts'
import type { Request } from './protocol.ts'

/** Enough for every response that is not a list. */
const SMALL_RESPONSE_BYTES = 256 * 1024

/** How {@link call} waits. */
export interface CallDetails extends CallOptions {
  /** @default 262_144 */
  readonly maxBytes?: number | undefined
  /** Taken when stream ids were needed for the request already. */
  readonly requestId?: number | undefined
  /** The daemon refused, or the connection ended. Called before the promise rejects, also when nobody waits any more. */
  readonly onFail?: ((error: AnyplaceError) => void) | undefined
}

/** Sends a request and gives its checked response. What `check` throws ends the session. */
export function call<T>(
  connection: DaemonConnection,
  request: Request,
  check: (value: unknown) => T,
  details: CallDetails = {},
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const { signal, maxBytes = SMALL_RESPONSE_BYTES } = details
    throwIfAborted(signal)
    const onAbort = (): void => {
      if (signal !== undefined) reject(abortError(signal))
    }
    connection.request(details.requestId ?? connection.nextId(), request, {
      op: request.op === 'files' ? `${request.op} ${request.action}` : request.op,
      maxBytes,
      ok(value) {
        // Checked also when nobody waits any more: a broken answer is a broken answer.
        resolve(check(value))
        signal?.removeEventListener('abort', onAbort)
      },
      fail(error) {
        details.onFail?.(error)
        reject(error)
        signal?.removeEventListener('abort', onAbort)
      },
    })
    signal?.addEventListener('abort', onAbort, { once: true })
  })
}
