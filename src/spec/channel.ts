import type { Readable, Writable } from 'node:stream'

/** How the process at the far end of a channel ended. Exactly one of the two is not null. */
export interface ChannelExit {
  readonly exitCode: number | null
  /** The signal's name, such as `SIGKILL`. */
  readonly signal: string | null
}

/**
 * A raw process in a place: its three streams and its end. Bytes are exact and the streams apply back-pressure.
 *
 * The one opened it closes it. `close` ends the transport; whether the far process dies with it is the provider's matter,
 * so nothing above relies on it.
 */
export interface Channel extends AsyncDisposable {
  readonly stdin: Writable
  readonly stdout: Readable
  readonly stderr: Readable
  /** Settles when the far process ended; rejects when the transport broke first (`connection-lost`). Never left unhandled. */
  readonly exit: Promise<ChannelExit>
  /** Idempotent. Destroys the streams; safe after a failure. */
  close(): Promise<void>
}

/** Options of everything that may wait. */
export interface CallOptions {
  /** Ends the wait. What was begun is undone as far as it can be. The call rejects with `cancelled` (or `timeout` for a timeout signal). */
  readonly signal?: AbortSignal | undefined
}
