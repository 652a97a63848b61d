import { AnyplaceError } from '../spec/index.ts'
import type { Argv, CallOptions, ExitStatus, OutputLine, Process } from '../spec/index.ts'
import { throwIfAborted, untilAborted } from '../kit/deadline.ts'
import { LineSplitter } from '../kit/lines.ts'
import { ArrivalOrder } from './arrival-order.ts'
import type { DaemonConnection, ExitFollower } from './connection.ts'
import { call } from './call.ts'
import { protocolError } from './frames.ts'
import { inboundReadable } from './inbound-readable.ts'
import type { InboundStream } from './inbound-stream.ts'
import type { OutboundStream } from './outbound-stream.ts'
import type { ExitEvent, KillRequest } from './protocol.ts'
import { exitStatus } from './wire-checks.ts'
import type { Started } from './wire-checks.ts'

/** Cut into lines at a time: each line costs more than its bytes. */
const LINES_BYTES = 32 * 1024

/** What a handle is made of. */
export interface ProcessParts {
  readonly connection: DaemonConnection
  readonly requestId: number
  readonly started: Started
  readonly argv: Argv
  readonly fromOffset: Process['fromOffset']
  readonly stdout: InboundStream
  readonly stderr: InboundStream
  readonly stdin: OutboundStream | undefined
  readonly hasPty: boolean
  /** The daemon keeps it for `attach` after its end. */
  readonly keep: boolean
  /** Its output goes to a sink: no lines will be asked for. */
  readonly hasSink: boolean
}

/** A process of the exec daemon, followed by one spawn or attach request. */
export class DaemonProcess implements Process, ExitFollower {
  readonly id: string
  readonly pid: number
  readonly argv: Argv
  readonly fromOffset: Process['fromOffset']
  readonly #parts: ProcessParts
  #order: ArrivalOrder | undefined
  #exit: ExitEvent | undefined
  #error: AnyplaceError | undefined
  #isDone = false
  #waiters = 0
  #ended: { readonly promise: Promise<ExitEvent>; settle(): void } | undefined
  #finished: { readonly promise: Promise<ExitEvent>; settle(): void } | undefined
  #stdoutReadable: ReadableStream<Uint8Array> | undefined
  #stderrReadable: ReadableStream<Uint8Array> | undefined
  #stdinWritable: WritableStream<Uint8Array> | undefined
  #readsLines = false
  #keepsOrder: boolean

  constructor(parts: ProcessParts) {
    this.#parts = parts
    this.id = parts.started.processId
    this.pid = parts.started.pid
    this.argv = parts.argv
    this.fromOffset = parts.fromOffset
    this.#keepsOrder = !parts.hasSink
    for (const [name, stream] of [
      ['stdout', parts.stdout],
      ['stderr', parts.stderr],
    ] as const) {
      stream.label = `${name} of process ${this.id}`
      stream.onArrival = (byteLength) => {
        if (this.#keepsOrder) (this.#order ??= new ArrivalOrder()).add(name, byteLength)
        if (this.#waiters > 0) queueMicrotask(() => this.#dropUnread())
      }
      stream.onReceived = () => this.#checkDone()
      stream.start()
    }
    parts.connection.follow(parts.requestId, this)
  }

  get stdout(): ReadableStream<Uint8Array> {
    this.#stdoutReadable ??= this.#readable(this.#parts.stdout)
    return this.#stdoutReadable
  }

  get stderr(): ReadableStream<Uint8Array> {
    this.#stderrReadable ??= this.#readable(this.#parts.stderr)
    return this.#stderrReadable
  }

  get stdin(): WritableStream<Uint8Array> | undefined {
    const { stdin } = this.#parts
    if (stdin === undefined) return undefined
    this.#stdinWritable ??= outboundWritable(stdin)
    return this.#stdinWritable
  }

  lines(): AsyncIterable<OutputLine> {
    if (this.#stdoutReadable !== undefined || this.#stderrReadable !== undefined || this.#readsLines) {
      throw new AnyplaceError('invalid-argument', `The output of process ${this.id} is already being read.`, {
        hint: 'use either lines() once, or stdout and stderr',
      })
    }
    this.#readsLines = true
    return this.#lines()
  }

  async wait(options: CallOptions = {}): Promise<ExitStatus> {
    throwIfAborted(options.signal)
    this.#waiters++
    // A reader that starts in this turn of the event loop still gets everything.
    setImmediate(() => this.#dropUnread())
    try {
      return exitStatus(await untilAborted(this.#untilExit(), options.signal))
    } finally {
      this.#waiters--
    }
  }

  async signal(name = 'SIGTERM'): Promise<void> {
    await call(this.#parts.connection, { op: 'signal', processId: this.id, signal: name }, () => undefined)
  }

  async kill(): Promise<void> {
    await this.killFor('kill')
  }

  async resize(columns: number, rows: number): Promise<void> {
    if (!this.#parts.hasPty) {
      throw new AnyplaceError('invalid-argument', `Process ${this.id} has no terminal that could be resized.`, {
        hint: 'spawn it with pty: { columns, rows }',
      })
    }
    await call(this.#parts.connection, { op: 'resize', processId: this.id, columns, rows }, () => undefined)
  }

  async detach(): Promise<void> {
    if (this.#isDone || this.#error !== undefined) return
    const { connection, requestId, stdout, stderr, stdin } = this.#parts
    connection.notify({ op: 'unfollow', request: requestId })
    connection.abandon(requestId, stdout.id, stderr.id, ...(stdin === undefined ? [] : [stdin.id]))
    const error = new AnyplaceError(
      'cancelled',
      `The handle of process ${this.id} was detached; the process runs on.`,
      {
        hint: 'attach to it again',
      },
    )
    stdin?.close(error)
    stdout.drop()
    stderr.drop()
    stdout.fail(error)
    stderr.fail(error)
    this.fail(error)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.detach()
  }

  /** Kills the whole tree; `reason` decides what the exit reports. */
  async killFor(reason: KillRequest['reason']): Promise<void> {
    try {
      await call(this.#parts.connection, { op: 'kill', processId: this.id, reason }, () => undefined)
    } catch (error) {
      // The daemon has forgotten it: nothing of it is left.
      if (!AnyplaceError.is(error, 'process-not-found')) throw error
    }
  }

  /** Resolves with the exit once all output was received too. */
  finished(): Promise<ExitEvent> {
    this.#finished ??= this.#settled(() => this.#isDone)
    return this.#finished.promise
  }

  /** Called by the connection. */
  exited(exit: ExitEvent): void {
    if (this.#exit !== undefined) throw protocolError(`Process ${this.id} was said to exit twice.`)
    const { stdin, stdout, stderr, connection } = this.#parts
    this.#exit = exit
    try {
      stdout.expect(exit.stdoutBytes)
      stderr.expect(exit.stderrBytes)
    } catch (error) {
      this.#exit = undefined
      throw error
    }
    if (stdin !== undefined) {
      connection.retire(stdin.id)
      stdin.close(new AnyplaceError('process-not-found', `Process ${this.id} has ended and reads no more.`))
    }
    this.#ended?.settle()
    this.#checkDone()
  }

  /** Called by the connection when it ended. */
  fail(error: AnyplaceError): void {
    if (this.#isDone || this.#error !== undefined) return
    const { stdout, stderr } = this.#parts
    this.#error = new AnyplaceError(error.code, error.message, {
      hint: error.hint,
      retryable: error.retryable,
      cause: error,
      data: {
        ...error.data,
        processId: this.id,
        stdoutOffset: stdout.receivedOffset,
        stderrOffset: stderr.receivedOffset,
      },
    })
    this.#ended?.settle()
    this.#finished?.settle()
  }

  #untilExit(): Promise<ExitEvent> {
    this.#ended ??= this.#settled(() => this.#exit !== undefined)
    return this.#ended.promise
  }

  #settled(isReached: () => boolean): { readonly promise: Promise<ExitEvent>; settle(): void } {
    let settle!: () => void
    const promise = new Promise<ExitEvent>((resolve, reject) => {
      settle = () => {
        if (isReached() && this.#exit !== undefined) resolve(this.#exit)
        else if (this.#error !== undefined) reject(this.#error)
      }
    })
    promise.catch(() => undefined)
    settle()
    return { promise, settle }
  }

  #checkDone(): void {
    const { stdout, stderr, connection, requestId, keep } = this.#parts
    if (this.#exit === undefined || this.#isDone || !stdout.isReceived || !stderr.isReceived) return
    this.#isDone = true
    connection.retire(requestId, stdout.id, stderr.id)
    connection.notify(keep ? { op: 'unfollow', request: requestId } : { op: 'release', processId: this.id })
    this.#finished?.settle()
  }

  #readable(stream: InboundStream): ReadableStream<Uint8Array> {
    if (this.#readsLines) {
      throw new AnyplaceError('invalid-argument', `The output of process ${this.id} is already being read by lines().`)
    }
    this.#keepsOrder = false
    this.#order?.clear()
    return inboundReadable(stream, () => undefined)
  }

  #dropUnread(): void {
    if (this.#waiters === 0 || this.#readsLines) return
    const { stdout, stderr } = this.#parts
    if (this.#stdoutReadable?.locked !== true) stdout.drop()
    if (this.#stderrReadable?.locked !== true) stderr.drop()
    this.#order?.clear()
  }

  async *#lines(): AsyncGenerator<OutputLine, void, undefined> {
    const streams = { stdout: this.#parts.stdout, stderr: this.#parts.stderr }
    const splitters = { stdout: new LineSplitter(), stderr: new LineSplitter() }
    let wake: (() => void) | undefined
    streams.stdout.onChange = streams.stderr.onChange = () => wake?.()
    try {
      for (;;) {
        const run = this.#order?.shift()
        if (run !== undefined) {
          const { stream } = run
          for (let left = run.byteLength; left > 0;) {
            const bytes = streams[stream].shift(Math.min(left, LINES_BYTES))
            if (bytes === undefined) break
            left -= bytes.byteLength
            for (const text of splitters[stream].push(bytes)) yield { stream, text }
          }
          continue
        }
        const error = streams.stdout.error ?? streams.stderr.error
        if (error !== undefined || (streams.stdout.isComplete && streams.stderr.isComplete)) {
          for (const stream of ['stdout', 'stderr'] as const) {
            const text = splitters[stream].end()
            if (text !== undefined) yield { stream, text }
          }
          if (error !== undefined) throw error
          return
        }
        await new Promise<void>((resolve) => (wake = resolve))
      }
    } finally {
      this.#keepsOrder = false
      this.#order?.clear()
      streams.stdout.discard()
      streams.stderr.discard()
    }
  }
}

function outboundWritable(stream: OutboundStream): WritableStream<Uint8Array> {
  return new WritableStream<Uint8Array>({
    start(controller) {
      stream.onClose = (reason) => controller.error(reason)
      if (stream.closedBy !== undefined) controller.error(stream.closedBy)
    },
    async write(chunk) {
      if (!(chunk instanceof Uint8Array)) {
        throw new AnyplaceError('invalid-argument', `stdin takes bytes (got ${typeof chunk}).`, {
          hint: 'encode text with new TextEncoder().encode(text)',
        })
      }
      await stream.write(chunk)
    },
    close() {
      stream.end()
    },
    abort() {
      stream.reset(new AnyplaceError('cancelled', 'stdin was aborted.'))
    },
  })
}
