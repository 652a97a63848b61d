import type { AnyplaceError } from '../spec/index.ts'
import { ByteQueue } from './byte-queue.ts'
import { encodeOffset, protocolError } from './frames.ts'
import type { FrameWriter } from './frame-writer.ts'
import { FrameType, INITIAL_WINDOW_BYTES } from './protocol.ts'

export interface InboundOptions {
  readonly id: number
  /** For messages: `stdout of process …`. */
  readonly label: string
  /** Data may come at once. Else only after `start`, when the response has come. */
  readonly started: boolean
  /** The end of the bytes is not yet success: `complete` is called when the response says so. @default false */
  readonly completedByResponse?: boolean | undefined
}

/**
 * Bytes from the daemon: offsets checked, at most one window of them held, more granted as they are consumed.
 *
 * Either a sink takes them as they come, or `shift` pulls them and `onChange` tells that there is something new.
 */
export class InboundStream {
  readonly id: number
  label: string
  /** The next offset that may come. */
  receivedOffset: number
  error: AnyplaceError | undefined
  /** Called when bytes came, or the stream ended or failed. */
  onChange: (() => void) | undefined
  /** Called for each arrival, before the bytes are handed on. */
  onArrival: ((byteLength: number) => void) | undefined
  /** Called once when the last byte was received. */
  onReceived: (() => void) | undefined
  readonly #writer: FrameWriter
  /** Made when bytes have to wait: most streams carry none, or hand them on at once. */
  #queue: ByteQueue | undefined
  readonly #completedByResponse: boolean
  #isStarted: boolean
  #grantedOffset: number
  #consumedOffset: number
  #finalOffset: number | undefined
  #isComplete = false
  #sink: ((bytes: Uint8Array) => void) | undefined

  constructor(writer: FrameWriter, options: InboundOptions) {
    this.#writer = writer
    this.id = options.id
    this.label = options.label
    this.receivedOffset = this.#consumedOffset = 0
    this.#grantedOffset = INITIAL_WINDOW_BYTES
    this.#isStarted = options.started
    this.#completedByResponse = options.completedByResponse ?? false
  }

  get queuedBytes(): number {
    return this.#queue?.byteLength ?? 0
  }

  /** All bytes were received. */
  get isReceived(): boolean {
    return this.receivedOffset === this.#finalOffset
  }

  /** Nothing more will come and nothing went wrong. */
  get isComplete(): boolean {
    return this.#isComplete
  }

  start(): void {
    this.#isStarted = true
  }

  /** Before the start, where only the response tells the first offset. */
  beginAt(offset: number): void {
    this.receivedOffset = this.#consumedOffset = offset
    this.#grantedOffset = offset + INITIAL_WINDOW_BYTES
  }

  /** Refuses a data frame by its header alone. */
  check(byteLength: number): void {
    if (!this.#isStarted) throw protocolError(`Data for ${this.label} came before the response.`)
    if (this.receivedOffset + byteLength > this.#grantedOffset) {
      throw protocolError(
        `Data for ${this.label} reaches offset ${this.receivedOffset + byteLength}; only ${this.#grantedOffset} was granted.`,
      )
    }
  }

  accept(offset: number, bytes: Uint8Array): void {
    const end = this.receivedOffset + bytes.byteLength
    if (offset !== this.receivedOffset) {
      throw protocolError(`Data for ${this.label} is at offset ${offset}; ${this.receivedOffset} was due.`)
    }
    if (this.#finalOffset !== undefined && end > this.#finalOffset) {
      throw protocolError(`Data for ${this.label} reaches offset ${end}, beyond its end at ${this.#finalOffset}.`)
    }
    if (bytes.byteLength === 0) return
    this.receivedOffset = end
    this.onArrival?.(bytes.byteLength)
    if (this.#sink === undefined) {
      this.#queue ??= new ByteQueue()
      this.#queue.push(bytes)
    } else {
      this.#consume(bytes.byteLength)
      this.#sink(bytes)
    }
    if (this.isReceived) this.#allReceived()
    else if (this.#sink === undefined) this.onChange?.()
  }

  /** The daemon's `end` frame: exactly what was received. */
  end(offset: number): void {
    if (!this.#isStarted) throw protocolError(`The end of ${this.label} came before the response.`)
    if (offset !== this.receivedOffset || this.#finalOffset !== undefined) {
      throw protocolError(
        `The end of ${this.label} is said to be at offset ${offset}; ${this.receivedOffset} bytes came.`,
      )
    }
    this.expect(offset)
  }

  /** The final offset is known; the bytes up to it may still be on their way. */
  expect(finalOffset: number): void {
    if (finalOffset < this.receivedOffset) {
      throw protocolError(
        `${this.label} is said to end at offset ${finalOffset}, but ${this.receivedOffset} bytes came already.`,
      )
    }
    this.#finalOffset = finalOffset
    if (this.isReceived) this.#allReceived()
  }

  /** The response confirmed that the bytes are all. */
  complete(): void {
    if (!this.isReceived)
      throw protocolError(`The response came before the end of ${this.label} (at offset ${this.receivedOffset}).`)
    this.#isComplete = true
    this.onChange?.()
  }

  /** What is queued can still be read; after it comes the error. */
  fail(error: AnyplaceError): void {
    if (this.#isComplete || this.error !== undefined) return
    this.error = error
    this.onChange?.()
  }

  /** The next queued bytes. They belong to the caller. */
  shift(maxBytes: number): Uint8Array | undefined {
    const bytes = this.#queue?.shift(maxBytes)
    if (bytes !== undefined) this.#consume(bytes.byteLength)
    return bytes
  }

  /** Bytes go to the sink as they come, at once; it must copy what it keeps. */
  pipeTo(sink: (bytes: Uint8Array) => void): void {
    this.#sink = sink
    for (let bytes = this.shift(Infinity); bytes !== undefined; bytes = this.shift(Infinity)) sink(bytes)
  }

  /** Drops what is queued. */
  drop(): void {
    const dropped = this.queuedBytes
    if (dropped === 0) return
    this.#queue?.clear()
    this.#consume(dropped)
    if (this.#isComplete || this.error !== undefined) this.onChange?.()
  }

  /** Drops everything from now on. */
  discard(): void {
    this.#sink = () => undefined
    this.drop()
  }

  #allReceived(): void {
    if (!this.#completedByResponse) this.#isComplete = true
    this.onReceived?.()
    this.onChange?.()
  }

  #consume(byteLength: number): void {
    this.#consumedOffset += byteLength
    if (this.isReceived || this.error !== undefined) return
    if (this.#grantedOffset - this.#consumedOffset > INITIAL_WINDOW_BYTES / 2) return
    this.#grantedOffset = this.#consumedOffset + INITIAL_WINDOW_BYTES
    this.#writer.send(encodeOffset(FrameType.window, this.id, this.#grantedOffset))
  }
}
