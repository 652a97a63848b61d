import { Readable, Writable } from 'node:stream'
import { AnyplaceError } from '../spec/index.ts'
import type { CallOptions, Channel, ChannelExit } from '../spec/index.ts'
import { deadlineSignal, throwIfAborted } from '../kit/deadline.ts'
import { call } from './call.ts'
import type { DaemonConnection, ExitFollower } from './connection.ts'
import type { InboundStream } from './inbound-stream.ts'
import type { OutboundStream } from './outbound-stream.ts'
import type { ExitEvent, SpawnRequest } from './protocol.ts'
import { checkSpawn } from './spawn.ts'
import { checkStarted } from './wire-checks.ts'

const CHUNK_BYTES = 256 * 1024
/** So long `close` waits for a daemon that may have fallen silent. */
const CLOSE_MS = 5000

/** How the process is started. */
export interface ProcessChannelOptions extends CallOptions {
  readonly env?: Readonly<Record<string, string>> | undefined
  readonly cwd?: string | undefined
  /** `close` leaves the process running. @default false */
  readonly detached?: boolean | undefined
}

/** A channel that also tells when nothing more comes of it. */
export interface RemoteChannel extends Channel {
  /** Settles when the process has ended and all its output has come, which is after `exit`, or the connection ended. Never rejects. */
  readonly over: Promise<void>
}

/**
 * Starts a process through the exec daemon and gives its three streams, as a child process of this computer would. When the
 * connection ends, the process reads end of file and runs on.
 *
 * @throws AnyplaceError `command-not-found`, `command-not-executable`, what spawn fails with, `connection-lost`
 */
export async function openProcessChannel(
  connection: DaemonConnection,
  argv: readonly string[],
  options: ProcessChannelOptions = {},
): Promise<RemoteChannel> {
  const { signal, cwd, env, detached = false } = options
  checkSpawn(argv, { cwd, env })
  throwIfAborted(signal)
  const name = JSON.stringify((argv[0] ?? '').slice(0, 60))
  const requestId = connection.nextId()
  const stdin = connection.outbound(`stdin of ${name}`)
  const stdout = connection.inbound({ label: `stdout of ${name}`, started: false })
  const stderr = connection.inbound({ label: `stderr of ${name}`, started: false })
  const request: SpawnRequest = {
    op: 'spawn',
    argv,
    stdin: stdin.id,
    stdout: stdout.id,
    stderr: stderr.id,
    keep: false,
    ...(cwd === undefined ? {} : { cwd }),
    ...(env === undefined ? {} : { env }),
  }
  let channel: ProcessChannel | undefined
  await call(
    connection,
    request,
    (value) => {
      const { pid, processId } = checkStarted(value, 'the response to spawn')
      channel = new ProcessChannel({ connection, requestId, processId, pid, stdin, stdout, stderr, detached })
      // Given up too late: it runs, and nobody knows of it.
      if (signal?.aborted) void channel.close()
    },
    {
      requestId,
      signal,
      onFail(error) {
        connection.retire(requestId, stdin.id, stdout.id, stderr.id)
        stdin.close(error)
      },
    },
  )
  await channel!.started(argv)
  return channel!
}

interface ChannelParts {
  readonly connection: DaemonConnection
  readonly requestId: number
  readonly processId: string
  readonly pid: number
  readonly stdin: OutboundStream
  readonly stdout: InboundStream
  readonly stderr: InboundStream
  readonly detached: boolean
}

interface Settlers {
  resolve(exit: ChannelExit): void
  reject(error: AnyplaceError): void
}

class ProcessChannel implements RemoteChannel, ExitFollower {
  readonly stdin: Writable
  readonly stdout: Readable
  readonly stderr: Readable
  readonly exit: Promise<ChannelExit>
  readonly over: Promise<void>
  readonly #parts: ChannelParts
  readonly #settled: Settlers
  #exit: ExitEvent | undefined
  #isOver = false
  #settleOver!: () => void
  #closing: Promise<void> | undefined

  constructor(parts: ChannelParts) {
    this.#parts = parts
    const { connection, requestId, stdin, stdout, stderr } = parts
    let settled!: Settlers
    this.exit = new Promise((resolve, reject) => (settled = { resolve, reject }))
    this.exit.catch(() => undefined)
    this.#settled = settled
    this.over = new Promise((resolve) => (this.#settleOver = resolve))
    this.stdin = outboundWritable(stdin)
    this.stdout = inboundNodeReadable(stdout)
    this.stderr = inboundNodeReadable(stderr)
    for (const stream of [stdout, stderr]) {
      stream.onReceived = () => this.#release()
      stream.start()
    }
    connection.follow(requestId, this)
  }

  /** Pid 0: it could not be started, which its exit and its stderr tell. */
  async started(argv: readonly string[]): Promise<void> {
    if (this.#parts.pid !== 0) return
    const { exitCode } = await this.exit
    await this.close()
    const name = JSON.stringify(argv[0])
    throw exitCode === 127
      ? new AnyplaceError('command-not-found', `No program ${name} there.`)
      : new AnyplaceError('command-not-executable', `Cannot start ${name}: it is not an executable program.`)
  }

  /** Called by the connection. */
  exited(exit: ExitEvent): void {
    const { connection, stdin, stdout, stderr } = this.#parts
    stdout.expect(exit.stdoutBytes)
    stderr.expect(exit.stderrBytes)
    this.#exit = exit
    connection.retire(stdin.id)
    stdin.close(new AnyplaceError('process-not-found', 'The process has ended and reads no more.'))
    this.#settled.resolve(
      exit.signal === null ? { exitCode: exit.exitCode, signal: null } : { exitCode: null, signal: exit.signal },
    )
    this.#release()
  }

  /** Called by the connection when it ended. The streams hear of it from the connection too. */
  fail(error: AnyplaceError): void {
    this.#end()
    this.#settled.reject(error)
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(): Promise<void> {
    const { connection, processId, requestId, stdin, stdout, stderr, detached } = this.#parts
    this.stdin.destroy()
    this.stdout.destroy()
    this.stderr.destroy()
    if (this.#isOver || connection.error !== undefined) return
    if (detached) {
      this.#end()
      connection.notify({ op: 'unfollow', request: requestId })
      connection.notify({ op: 'release', processId })
      connection.abandon(requestId, stdin.id, stdout.id, stderr.id)
      return
    }
    if (this.#exit !== undefined) return
    try {
      const signal = deadlineSignal(CLOSE_MS)
      await call(connection, { op: 'kill', processId, reason: 'cancel' }, () => undefined, { signal })
    } catch (error) {
      // It has ended, or the link has or is about to: there is nothing left to end.
      const isOver = AnyplaceError.is(error, 'process-not-found') || AnyplaceError.is(error, 'timeout')
      if (!isOver && connection.error === undefined) throw error
    }
  }

  /** Once everything has come the daemon may forget it. */
  #release(): void {
    const { connection, processId, requestId, stdout, stderr } = this.#parts
    if (this.#exit === undefined || this.#isOver || !stdout.isReceived || !stderr.isReceived) return
    this.#end()
    connection.retire(requestId, stdout.id, stderr.id)
    connection.notify({ op: 'release', processId })
  }

  #end(): void {
    this.#isOver = true
    this.#settleOver()
  }
}

function inboundNodeReadable(stream: InboundStream): Readable {
  let isWanted = false
  let isEnded = false
  const deliver = (): void => {
    while (isWanted && !isEnded) {
      const bytes = stream.shift(CHUNK_BYTES)
      if (bytes === undefined) break
      isWanted = readable.push(bytes)
    }
    if (isEnded || readable.destroyed || stream.queuedBytes > 0) return
    if (stream.error !== undefined) {
      isEnded = true
      readable.destroy(stream.error)
    } else if (stream.isComplete) {
      isEnded = true
      readable.push(null)
    }
  }
  const readable = new Readable({
    highWaterMark: CHUNK_BYTES,
    read() {
      isWanted = true
      deliver()
    },
    destroy(error, done) {
      stream.onChange = undefined
      stream.discard()
      done(error)
    },
  })
  // One that nobody listens to may still break.
  readable.on('error', () => undefined)
  stream.onChange = deliver
  return readable
}

function outboundWritable(stream: OutboundStream): Writable {
  const writable = new Writable({
    highWaterMark: CHUNK_BYTES,
    write(chunk: Uint8Array, _encoding, done) {
      const before = stream.sentOffset
      const sending = stream.write(chunk)
      // Most of what is written fits the window and is gone already: no need to wait a turn to say so.
      if (stream.sentOffset - before === chunk.byteLength) {
        sending.catch(() => undefined)
        return done()
      }
      sending.then(() => done(), done)
    },
    final(done) {
      stream.end()
      done()
    },
    destroy(error, done) {
      stream.end()
      done(error)
    },
  })
  writable.on('error', () => undefined)
  stream.onClose = (reason) => {
    if (!writable.writableFinished) writable.destroy(reason)
  }
  return writable
}
