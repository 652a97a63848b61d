import { setTimeout as delay } from 'node:timers/promises'
import { AnyplaceError } from '../spec/index.ts'
import type { CallOptions, Channel } from '../spec/index.ts'
import { deadlineSignal, untilAborted } from '../kit/deadline.ts'
import { DaemonConnection } from './connection.ts'
import { FrameDecoder, protocolError } from './frames.ts'
import { FrameWriter } from './frame-writer.ts'
import { printable } from './printable.ts'
import { FrameType } from './protocol.ts'
import { parseHello } from './wire-checks.ts'

const STDERR_TAIL_BYTES = 4096
const EXIT_WAIT_MS = 500

/** How the daemon is greeted. */
export interface ConnectionOptions extends CallOptions {
  /** Give up when the daemon has not greeted after this long. @default 30_000 */
  readonly handshakeTimeoutMs?: number | undefined
  /** Ping this often; a silence of two periods ends the session. Never by default. */
  readonly keepaliveMs?: number | undefined
}

/**
 * Waits for the daemon's greeting and gives the connection. The channel belongs to it from the call on: it is closed when this fails.
 *
 * @throws AnyplaceError `protocol-error` (another version, or not our daemon), `connection-lost`, `no-exec-daemon`
 * (the channel's program could not run), `timeout`, `cancelled`
 */
export async function openConnection(channel: Channel, options: ConnectionOptions = {}): Promise<DaemonConnection> {
  channel.exit.catch(() => undefined)
  const opening = new Opening(channel)
  try {
    const connection = await untilAborted(
      opening.connection,
      deadlineSignal(options.handshakeTimeoutMs ?? 30_000, options.signal),
    )
    if (options.keepaliveMs !== undefined) keepAlive(connection, options.keepaliveMs)
    return connection
  } catch (error) {
    opening.connection.then(
      (late) => late.close(),
      () => undefined,
    )
    await channel.close().catch(() => undefined)
    throw opening.explain(error)
  }
}

class Opening {
  readonly connection: Promise<DaemonConnection>
  readonly #channel: Channel
  readonly #decoder: FrameDecoder
  readonly #writer: FrameWriter
  #stderr = Buffer.alloc(0)
  #open: DaemonConnection | undefined
  #hasFailed = false
  #resolve!: (connection: DaemonConnection) => void
  #reject!: (error: unknown) => void

  constructor(channel: Channel) {
    this.#channel = channel
    this.connection = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.connection.catch(() => undefined)
    this.#writer = new FrameWriter(channel.stdin)
    this.#decoder = new FrameDecoder(this, { magic: true })
    channel.stdin.on('error', (error) => this.#lost(error))
    channel.stderr.on('error', () => undefined)
    channel.stderr.on('data', (chunk: Buffer) => {
      this.#stderr = Buffer.concat([this.#stderr, chunk]).subarray(-STDERR_TAIL_BYTES)
    })
    channel.stdout.on('error', (error) => this.#lost(error))
    channel.stdout.on('end', () => this.#lost())
    channel.stdout.on('close', () => this.#lost())
    channel.stdout.on('data', (chunk: Buffer) => this.#push(chunk))
    // Whoever looked at the stream before us may have left it paused.
    channel.stdout.resume()
  }

  header(type: number, id: number, payloadBytes: number): void {
    if (this.#open !== undefined) return this.#open.header(type, id, payloadBytes)
    if (type !== FrameType.hello || id !== 0)
      throw protocolError(`The daemon's first frame is of type ${type} (id ${id}), not its hello.`)
  }

  frame(type: number, id: number, payload: Uint8Array): void {
    if (this.#open !== undefined) return this.#open.frame(type, id, payload)
    this.#open = new DaemonConnection(this.#channel, this.#writer, parseHello(payload))
    this.#resolve(this.#open)
  }

  data(id: number, offset: number, bytes: Uint8Array): void {
    this.#open?.data(id, offset, bytes)
  }

  /** Adds what the far side printed to a failure of the opening that tells too little by itself. */
  explain(error: unknown): unknown {
    if (!AnyplaceError.is(error, 'timeout')) return error
    const noise = this.#decoder.noise
    return new AnyplaceError(
      'timeout',
      `The exec daemon did not greet in time${noise ? `; instead came ${JSON.stringify(noise)}` : ''}.${this.#said()}`,
      {
        cause: error,
      },
    )
  }

  #push(chunk: Uint8Array): void {
    if (this.#hasFailed || this.#open?.error !== undefined) return
    try {
      this.#decoder.push(chunk)
    } catch (error) {
      this.#fail(
        AnyplaceError.is(error)
          ? error
          : new AnyplaceError('internal', 'A frame of the exec daemon could not be handled.', { cause: error }),
      )
    }
  }

  #lost(cause?: Error): void {
    if (this.#hasFailed || this.#open?.error !== undefined) return
    if (this.#open !== undefined) {
      const cut = this.#decoder.atBoundary ? '' : ' in the middle of a frame'
      const error = new AnyplaceError(
        'connection-lost',
        `The connection to the exec daemon of sandbox ${this.#open.hello.sandboxId} was lost${cut}.${this.#said()}`,
        { cause, hint: 'processes run on: attach again from the offsets reached' },
      )
      return this.#fail(error)
    }
    this.#hasFailed = true
    void this.#neverGreeted(cause).then(this.#reject)
  }

  /** How the program ended tells why there was no greeting, but it is known only a moment later. */
  async #neverGreeted(cause: Error | undefined): Promise<AnyplaceError> {
    const exit = await Promise.race([
      this.#channel.exit.catch(() => undefined),
      delay(EXIT_WAIT_MS, undefined, { ref: false }),
    ])
    const noise = this.#decoder.noise
    const how = exit === undefined ? '' : exit.signal === null ? ` (exit code ${exit.exitCode})` : ` (${exit.signal})`
    const message = `The exec daemon did not start: its channel ended${how} before the greeting${noise ? `, after ${JSON.stringify(noise)}` : ''}.${this.#said()}`
    const cannotRun = exit?.exitCode === 126 || exit?.exitCode === 127
    return new AnyplaceError(cannotRun ? 'no-exec-daemon' : 'connection-lost', message, {
      cause,
      hint: cannotRun ? 'the daemon needs python3 (3.9 or later) in the sandbox' : undefined,
    })
  }

  #said(): string {
    const text = printable(this.#stderr.toString('utf8'), 1000)
    return text === '' ? '' : ` It said: ${text}`
  }

  #fail(error: AnyplaceError): void {
    this.#hasFailed = true
    if (this.#open === undefined) this.#reject(error)
    else this.#open.fail(error)
  }
}

function keepAlive(connection: DaemonConnection, keepaliveMs: number): void {
  let framesBefore = -1
  const timer = setInterval(() => {
    if (connection.receivedFrames === framesBefore) {
      connection.fail(
        new AnyplaceError('connection-lost', `The exec daemon has been silent for ${2 * keepaliveMs} ms.`, {
          hint: 'processes run on: attach again from the offsets reached',
        }),
      )
      return
    }
    framesBefore = connection.receivedFrames
    connection.ping(() => undefined)
  }, keepaliveMs)
  timer.unref()
  void connection.closed.then(() => {
    clearInterval(timer)
  })
}
