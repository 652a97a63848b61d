import { Duplex } from 'node:stream'
import { AnyplaceError } from '../spec/index.ts'
import type { CallOptions } from '../spec/index.ts'
import { call } from './call.ts'
import type { DaemonConnection } from './connection.ts'
import { encodeJson } from './frames.ts'
import type { InboundStream } from './inbound-stream.ts'
import type { OutboundStream } from './outbound-stream.ts'
import { FrameType } from './protocol.ts'

const CHUNK_BYTES = 256 * 1024

/**
 * A connection to a TCP port inside, or to the unix socket of an absolute path, as a Node stream whose two directions end
 * on their own.
 */
export async function openTunnel(
  connection: DaemonConnection,
  target: number | string,
  options: CallOptions = {},
): Promise<Duplex> {
  if (typeof target === 'number' && (!Number.isInteger(target) || target < 1 || target > 65_535)) {
    throw new AnyplaceError('invalid-argument', `port must be from 1 to 65535 (got ${target}).`, { field: 'port' })
  }
  const label = typeof target === 'number' ? `port ${target}` : target
  const { signal } = options
  const requestId = connection.nextId()
  const input = connection.outbound(`what is sent to ${label}`)
  const output = connection.inbound({ label: `what comes from ${label}`, started: false })
  let tunnel: Tunnel | undefined
  try {
    await call(
      connection,
      {
        op: 'connect',
        ...(typeof target === 'number' ? { port: target } : { path: target }),
        input: input.id,
        output: output.id,
      },
      () => {
        output.start()
        tunnel = new Tunnel(connection, input, output)
        // Connected when nobody waits any more.
        if (signal?.aborted) tunnel.destroy()
      },
      {
        requestId,
        signal,
        onFail: () => connection.retire(input.id, output.id),
      },
    )
  } catch (error) {
    if (signal?.aborted) connection.notify({ op: 'cancel', request: requestId })
    throw error
  }
  return tunnel!
}

class Tunnel extends Duplex {
  readonly #connection: DaemonConnection
  readonly #input: OutboundStream
  readonly #output: InboundStream
  #isWanted = false
  #isEnded = false

  constructor(connection: DaemonConnection, input: OutboundStream, output: InboundStream) {
    super({ allowHalfOpen: true, highWaterMark: CHUNK_BYTES })
    this.#connection = connection
    this.#input = input
    this.#output = output
    // A tunnel that nobody listens to may still break.
    this.on('error', () => undefined)
    output.onChange = () => this.#deliver()
    input.onClose = (reason) => {
      if (!this.writableFinished) this.destroy(reason)
    }
  }

  override _read(): void {
    this.#isWanted = true
    this.#deliver()
  }

  override _write(chunk: Uint8Array, _encoding: string, done: (error?: Error | null) => void): void {
    this.#input.write(chunk).then(() => done(), done)
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#input.end()
    done()
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    const { id: inputId } = this.#input
    const { id: outputId } = this.#output
    const reason = new AnyplaceError('cancelled', 'The tunnel was closed.')
    if (!this.#isEnded && this.#output.error === undefined && this.#connection.error === undefined) {
      this.#connection.writer.send(
        encodeJson(FrameType.reset, outputId, { code: 'cancelled', message: reason.message }),
      )
    }
    this.#input.reset(reason)
    this.#output.discard()
    this.#connection.abandon(inputId, outputId)
    done(error)
  }

  #deliver(): void {
    while (this.#isWanted && !this.#isEnded) {
      const bytes = this.#output.shift(CHUNK_BYTES)
      if (bytes === undefined) break
      this.#isWanted = this.push(bytes)
    }
    if (this.#isEnded || this.destroyed || this.#output.queuedBytes > 0) return
    if (this.#output.error !== undefined) {
      this.destroy(this.#output.error)
    } else if (this.#output.isComplete) {
      this.#isEnded = true
      this.#connection.retire(this.#output.id)
      this.push(null)
    }
  }
}
