import { debuglog } from 'node:util'
import { AnyplaceError } from '../spec/index.ts'
import type { CallOptions, Host, Session } from '../spec/index.ts'
import { deadlineSignal, throwIfAborted, untilAborted } from '../kit/deadline.ts'
import { openSession } from './open-session.ts'
import type { SessionOpener } from './open-session.ts'

const debug = debuglog('anyplace:sandboxes')
const CONNECT_DEADLINE_MS = 60_000
/** How long a broken link may ask the platform why before the caller is told what is known. */
const PROBE_DEADLINE_MS = 800

/**
 * The connection to one place. When it broke and the place lives, the next call connects again (one at a time);
 * connecting never changes a lifetime.
 */
export class Link {
  readonly host: Host
  /** Settles when this link is over: undefined after `close`, else the `sandbox-gone` error. Never rejects. */
  readonly ended: Promise<AnyplaceError | undefined>
  readonly #open: SessionOpener
  readonly #stop = new AbortController()
  #settle: (reason: AnyplaceError | undefined) => void = () => undefined
  #session: Session | undefined
  #connecting: Promise<Session> | undefined
  #gone: AnyplaceError | undefined
  #closing: { readonly why: string; readonly done: Promise<void> } | undefined

  constructor(host: Host, open: SessionOpener = openSession) {
    this.host = host
    this.#open = open
    this.ended = new Promise((resolve) => {
      this.#settle = resolve
    })
  }

  /**
   * A session that works as far as is known.
   *
   * @throws AnyplaceError `sandbox-gone` with the reason when the place has ended; `connection-lost` when it cannot be reached
   */
  async session(options: CallOptions = {}): Promise<Session> {
    throwIfAborted(options.signal)
    this.#refuseWhenOver()
    if (this.#session !== undefined) return this.#session
    this.#connecting ??= this.#connect().finally(() => {
      this.#connecting = undefined
    })
    // One caller's signal ends that caller's wait, not the connecting that others may wait for too.
    return untilAborted(this.#connecting, options.signal)
  }

  /**
   * What a failed call means: `sandbox-gone` with the reason when the place has ended, else the error itself.
   * Takes less than a second.
   */
  async explain(error: unknown): Promise<unknown> {
    if (AnyplaceError.is(error, 'sandbox-gone')) return this.#markGone(error)
    if (!AnyplaceError.is(error, 'connection-lost')) return error
    if (this.#gone !== undefined) return this.#gone
    if (this.#closing !== undefined) return error
    try {
      const signal = deadlineSignal(PROBE_DEADLINE_MS)
      const info = await untilAborted(this.host.info({ signal }), signal)
      return info.state === 'exited' ? this.#markGone(error, info.reason) : error
    } catch (failure) {
      return AnyplaceError.is(failure, 'sandbox-gone') ? this.#markGone(failure) : error
    }
  }

  /** Ends the connection; the place is left alone. `why` completes "Sandbox NAME …" for calls that come later. */
  close(why: string): Promise<void> {
    this.#closing ??= { why, done: this.#shut() }
    return this.#closing.done
  }

  async #shut(): Promise<void> {
    this.#stop.abort(new AnyplaceError('cancelled', `The connection to sandbox ${this.#label()} was closed.`))
    const pending = await this.#connecting?.catch(() => undefined)
    const session = this.#session ?? pending
    this.#session = undefined
    await session?.close()
    this.#settle(undefined)
  }

  async #connect(): Promise<Session> {
    const signal = deadlineSignal(CONNECT_DEADLINE_MS, this.#stop.signal)
    let session: Session
    try {
      session = await this.#open(this.host, { signal })
    } catch (error) {
      debug('connect to %s failed: %s', this.#label(), AnyplaceError.is(error) ? error.code : 'unexpected error')
      throw await this.explain(error)
    }
    if (this.#closing !== undefined) {
      await session.close()
      this.#refuseWhenOver()
    }
    this.#session = session
    debug('connected to %s', this.#label())
    void session.closed.then((error) => this.#onSessionClosed(session, error))
    return session
  }

  async #onSessionClosed(session: Session, error: Error | undefined): Promise<void> {
    if (this.#session === session) this.#session = undefined
    if (this.#closing !== undefined) return
    debug('connection to %s ended', this.#label())
    // Ask at once, so that a call made later knows the reason even when the platform forgets it.
    await this.explain(
      error ?? new AnyplaceError('connection-lost', `The connection to sandbox ${this.#label()} ended.`),
    )
  }

  #markGone(error: AnyplaceError, reason?: string): AnyplaceError {
    if (this.#gone === undefined) {
      this.#gone =
        error.code === 'sandbox-gone'
          ? error
          : new AnyplaceError('sandbox-gone', `Sandbox ${this.#label()} has ended${reason ? `: ${reason}` : ''}.`, {
              cause: error,
              hint: 'open a new one',
            })
      const session = this.#session
      this.#session = undefined
      void session?.close().catch(() => undefined)
      this.#settle(this.#gone)
    }
    return this.#gone
  }

  #refuseWhenOver(): void {
    if (this.#closing !== undefined) {
      throw new AnyplaceError('sandbox-gone', `Sandbox ${this.#label()} ${this.#closing.why}.`)
    }
    if (this.#gone !== undefined) throw this.#gone
  }

  #label(): string {
    return JSON.stringify(this.host.name)
  }
}
