import { AnyplaceError } from '../spec/index.ts'
import type { Channel } from '../spec/index.ts'
import { checkExit, parseWireError, asObject } from './wire-checks.ts'
import { encodeFrame, encodeJson, protocolError, readOffset } from './frames.ts'
import type { FrameWriter } from './frame-writer.ts'
import { InboundStream } from './inbound-stream.ts'
import type { InboundOptions } from './inbound-stream.ts'
import { OutboundStream } from './outbound-stream.ts'
import { FrameType } from './protocol.ts'
import type { ExitEvent, HelloPayload, Notification, Request } from './protocol.ts'
import { parseWireJson } from './wire-json.ts'

const MAX_ID = 0xffff_ffff
const MAX_UNSENT_PONGS = 4096
const CLOSE_FLUSH_MS = 1000

/** Who waits for the response of one request. */
export interface PendingRequest {
  /** For messages. */
  readonly op: string
  /** A longer response is a protocol error. */
  readonly maxBytes: number
  /** What it throws ends the session. */
  ok(value: unknown): void
  fail(error: AnyplaceError): void
}

/** Who waits for the exit event of a spawn or attach request. */
export interface ExitFollower {
  /** What it throws ends the session. */
  exited(exit: ExitEvent): void
  fail(error: AnyplaceError): void
}

/**
 * The client's end of the wire: gives out ids, sends, and checks that every frame of the daemon is one it may send now.
 * The first that is not ends the connection with `protocol-error`.
 */
export class DaemonConnection {
  readonly hello: HelloPayload
  readonly writer: FrameWriter
  /** Settles when the connection ended: undefined after `close`, else why. Never rejects. */
  readonly closed: Promise<AnyplaceError | undefined>
  readonly #channel: Channel
  readonly #requests = new Map<number, PendingRequest>()
  readonly #followers = new Map<number, ExitFollower>()
  readonly #streams = new Map<number, InboundStream | OutboundStream>()
  /** Ids given up while frames for them may be on their way. */
  readonly #abandoned = new Set<number>()
  readonly #pings: { readonly number: number; readonly done: () => void }[] = []
  #lastId = 0
  #lastPing = 0
  #unsentPongs = 0
  #receivedFrames = 0
  #error: AnyplaceError | undefined
  #settleClosed!: (error: AnyplaceError | undefined) => void
  #closing: Promise<void> | undefined

  constructor(channel: Channel, writer: FrameWriter, hello: HelloPayload) {
    this.#channel = channel
    this.writer = writer
    this.hello = hello
    this.closed = new Promise((resolve) => (this.#settleClosed = resolve))
  }

  /** Why nothing more can be done; undefined while open. */
  get error(): AnyplaceError | undefined {
    return this.#error
  }

  /** Grows with every frame of the daemon: a sign of life. */
  get receivedFrames(): number {
    return this.#receivedFrames
  }

  nextId(): number {
    if (this.#error !== undefined) throw this.#error
    if (this.#lastId === MAX_ID) {
      throw new AnyplaceError('resource-exhausted', `This session has used up its ${MAX_ID} request ids.`, {
        hint: 'open a new session to the same sandbox',
      })
    }
    return ++this.#lastId
  }

  inbound(options: Omit<InboundOptions, 'id'>): InboundStream {
    const stream = new InboundStream(this.writer, { ...options, id: this.nextId() })
    this.#streams.set(stream.id, stream)
    return stream
  }

  outbound(label: string): OutboundStream {
    const stream = new OutboundStream(this.writer, this.nextId(), label)
    this.#streams.set(stream.id, stream)
    return stream
  }

  /** Sends a request. Exactly one of the pending's methods is called later, never before this returns. */
  request(id: number, request: Request, pending: PendingRequest): void {
    if (this.#error !== undefined) throw this.#error
    const frame = encodeJson(FrameType.request, id, request)
    this.#requests.set(id, pending)
    this.writer.send(frame)
  }

  notify(notification: Notification): void {
    if (this.#error === undefined) this.writer.send(encodeJson(FrameType.notification, 0, notification))
  }

  follow(requestId: number, follower: ExitFollower): void {
    this.#followers.set(requestId, follower)
  }

  /** These ids are done: nothing may come for them. */
  retire(...ids: number[]): void {
    for (const id of ids) {
      this.#streams.delete(id)
      this.#followers.delete(id)
    }
  }

  /** We no longer want these ids: what is on its way is swallowed until the daemon has surely heard of it. */
  abandon(...ids: number[]): void {
    this.retire(...ids)
    if (this.#error !== undefined) return
    for (const id of ids) this.#abandoned.add(id)
    this.ping(() => {
      for (const id of ids) this.#abandoned.delete(id)
    })
  }

  /** `done` is called when the answer comes: all that the daemon sent before it has come then. */
  ping(done: () => void): void {
    const number = ++this.#lastPing
    this.#pings.push({ number, done })
    const payload = Buffer.alloc(8)
    payload.writeDoubleBE(number)
    this.writer.send(encodeFrame(FrameType.ping, 0, payload))
  }

  /** Called by the decoder: refuses what can be refused before the payload is there. */
  header(type: number, id: number, payloadBytes: number): void {
    this.#receivedFrames++
    if (type === FrameType.data) {
      const stream = this.#streams.get(id)
      if (stream instanceof InboundStream) stream.check(payloadBytes - 8)
      else this.#mustBeAbandoned(id, 'Data', stream)
    } else if (type === FrameType.response) {
      const pending = this.#requests.get(id)
      if (pending === undefined) throw protocolError(this.#unknown('A response', id))
      if (payloadBytes > pending.maxBytes) {
        throw protocolError(
          `The response to ${pending.op} says it has ${payloadBytes} bytes; at most ${pending.maxBytes} are allowed.`,
        )
      }
    } else if (type === FrameType.hello || type === FrameType.request || type === FrameType.notification) {
      throw protocolError(`The daemon sent a frame of type ${type}, which it may not send now.`)
    }
  }

  /** Called by the decoder. */
  data(id: number, offset: number, bytes: Uint8Array): void {
    const stream = this.#streams.get(id)
    if (stream instanceof InboundStream) stream.accept(offset, bytes)
  }

  /** Called by the decoder. */
  frame(type: number, id: number, payload: Uint8Array): void {
    switch (type) {
      case FrameType.response:
        return this.#respond(id, payload)
      case FrameType.exit: {
        const follower = this.#followers.get(id)
        if (follower === undefined) return this.#mustBeAbandoned(id, 'An exit event', undefined)
        const what = 'the exit event'
        return follower.exited(checkExit(parseWireJson(payload, what), what))
      }
      case FrameType.end: {
        const stream = this.#streams.get(id)
        if (stream instanceof InboundStream) return stream.end(readOffset(payload))
        return this.#mustBeAbandoned(id, 'An end', stream)
      }
      case FrameType.window: {
        const stream = this.#streams.get(id)
        const offset = readOffset(payload)
        if (stream instanceof OutboundStream) return stream.grant(offset)
        // For a stream that has ended it is late, and harmless.
        if (stream !== undefined || id === 0 || id > this.#lastId)
          throw protocolError(this.#unknown('A window', id, stream))
        return
      }
      case FrameType.reset:
        return this.#reset(id, payload)
      case FrameType.ping:
        return this.#pong(payload)
      case FrameType.pong: {
        const ping = this.#pings.shift()
        const number = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength).readDoubleBE()
        if (ping === undefined || ping.number !== number) throw protocolError('A pong came that answers no ping.')
        return ping.done()
      }
    }
  }

  /** Ends everything with this error. The first one counts. */
  fail(error: AnyplaceError): void {
    if (this.#error !== undefined) return
    this.#end(error, error)
  }

  /** Idempotent: what was sent is handed to the transport, which is then closed. */
  async close(): Promise<void> {
    if (this.#error === undefined) {
      this.writer.flush()
      const flushed = new Promise<void>((resolve) => {
        this.#channel.stdin.end(resolve)
        this.#channel.stdin.once('close', resolve)
        setTimeout(resolve, CLOSE_FLUSH_MS).unref()
      })
      const error = new AnyplaceError('connection-lost', 'The session was closed.', { retryable: false })
      this.#end(error, undefined, flushed)
    }
    await this.#closing
  }

  #end(error: AnyplaceError, reason: AnyplaceError | undefined, flushed: Promise<void> = Promise.resolve()): void {
    this.#error = error
    const requests = [...this.#requests.values()]
    const followers = [...this.#followers.values()]
    const streams = [...this.#streams.values()]
    this.#requests.clear()
    this.#followers.clear()
    this.#streams.clear()
    this.#abandoned.clear()
    this.#pings.length = 0
    for (const stream of streams) {
      if (stream instanceof OutboundStream) stream.close(error)
      else stream.fail(lostAt(error, stream))
    }
    this.writer.close()
    for (const waiting of [...requests, ...followers]) waiting.fail(error)
    this.#closing = flushed.then(() => this.#channel.close()).catch(() => undefined)
    this.#settleClosed(reason)
  }

  #respond(id: number, payload: Uint8Array): void {
    const pending = this.#requests.get(id)
    if (pending === undefined) throw protocolError(this.#unknown('A response', id))
    const what = `the response to ${pending.op}`
    const response = asObject(parseWireJson(payload, what), what)
    const isOk = Object.hasOwn(response, 'ok')
    if (isOk === Object.hasOwn(response, 'error')) throw protocolError(`${what} must have either ok or error.`)
    if (isOk) {
      this.#requests.delete(id)
      try {
        pending.ok(response['ok'])
      } catch (error) {
        // Whoever waits must hear of it too.
        this.#requests.set(id, pending)
        throw error
      }
    } else {
      const error = parseWireError(response['error'], `${what}.error`)
      this.#requests.delete(id)
      pending.fail(error)
    }
  }

  #reset(id: number, payload: Uint8Array): void {
    const stream = this.#streams.get(id)
    const what = 'a reset'
    const error = parseWireError(parseWireJson(payload, what), what)
    if (stream === undefined) {
      if (id === 0 || id > this.#lastId) throw protocolError(this.#unknown('A reset', id))
      return
    }
    this.#streams.delete(id)
    if (stream instanceof OutboundStream) stream.close(error)
    else stream.fail(error)
  }

  #pong(payload: Uint8Array): void {
    if (this.writer.hasRoom) this.#unsentPongs = 0
    else if (++this.#unsentPongs > MAX_UNSENT_PONGS) {
      throw protocolError(`The daemon sent ${this.#unsentPongs} pings and reads no answers.`)
    }
    this.writer.send(encodeFrame(FrameType.pong, 0, payload))
  }

  #mustBeAbandoned(id: number, what: string, stream: InboundStream | OutboundStream | undefined): void {
    if (stream !== undefined || !this.#abandoned.has(id)) throw protocolError(this.#unknown(what, id, stream))
  }

  #unknown(what: string, id: number, stream?: InboundStream | OutboundStream): string {
    if (stream instanceof OutboundStream) return `${what} came for ${stream.label}, which goes the other way.`
    if (stream instanceof InboundStream) return `${what} came for ${stream.label}, which goes the other way.`
    if (id === 0 || id > this.#lastId) return `${what} came for id ${id}, which this client never gave out.`
    return `${what} came for id ${id}, which has ended or was never meant for it.`
  }
}

function lostAt(error: AnyplaceError, stream: InboundStream): AnyplaceError {
  return new AnyplaceError(
    error.code,
    `${error.message} ${stream.label} was read up to byte ${stream.receivedOffset}.`,
    {
      hint: error.hint,
      retryable: error.retryable,
      cause: error,
      data: { ...error.data, offset: stream.receivedOffset },
    },
  )
}
