import type { Writable } from 'node:stream'

/** Frames of up to this size are joined into one write. */
const JOIN_BYTES = 16 * 1024
/** Above this much unsent, senders of bulk data wait. */
const HIGH_WATER_BYTES = 1024 * 1024
/** Above this much unsent, nobody reads at the far end and it makes us answer: see `isStuffed`. */
const STUFFED_BYTES = 16 * 1024 * 1024

/**
 * Sends frames in the order given. All frames of one turn of the event loop leave in as few writes as possible:
 * a system call costs more than the frame of a command.
 */
export class FrameWriter {
  readonly #stream: Writable
  #frames: Uint8Array[] = []
  /** Called when the stream has taken the frame's bytes. */
  readonly #onTaken = new Map<Uint8Array, () => void>()
  #queuedBytes = 0
  #scheduled = false
  #closed = false
  #waiting: (() => void)[] = []

  constructor(stream: Writable) {
    this.#stream = stream
    stream.on('drain', () => this.#release())
  }

  /** Bytes that the kernel has not taken yet. */
  get bufferedBytes(): number {
    return this.#queuedBytes + this.#stream.writableLength
  }

  /** True when bulk data may be sent now. */
  get hasRoom(): boolean {
    return this.bufferedBytes < HIGH_WATER_BYTES
  }

  /** True when so much is unsent that answering the far end only grows memory. */
  get isStuffed(): boolean {
    return this.bufferedBytes > STUFFED_BYTES
  }

  /** @param onTaken called when the bytes of this frame and of all before it may be changed; never, when the stream ends before */
  send(frame: Uint8Array, onTaken?: () => void): void {
    if (this.#closed) return
    this.#frames.push(frame)
    if (onTaken !== undefined) this.#onTaken.set(frame, onTaken)
    this.#queuedBytes += frame.byteLength
    if (this.#scheduled) return
    this.#scheduled = true
    // Runs when the I/O callbacks of this turn are done: later than microtasks, so that their frames join, and never late.
    setImmediate(() => {
      this.flush()
    })
  }

  /** Resolves when there is room again, or when the writer is closed. */
  room(): Promise<void> {
    if (this.hasRoom || this.#closed) return Promise.resolve()
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  /** Hands everything to the stream now. */
  flush(): void {
    this.#scheduled = false
    const frames = this.#frames
    if (frames.length === 0 || this.#closed) return
    this.#frames = []
    this.#queuedBytes = 0
    if (frames.length === 1) {
      this.#write(frames[0]!)
    } else {
      this.#stream.cork()
      let first = 0
      let bytes = 0
      for (let index = 0; index <= frames.length; index++) {
        const size = frames[index]?.byteLength ?? Infinity
        if (bytes + size <= JOIN_BYTES) {
          bytes += size
          continue
        }
        if (index - first === 1) this.#write(frames[first]!)
        else if (index > first) this.#join(frames.slice(first, index), bytes)
        first = index
        bytes = size
      }
      this.#stream.uncork()
    }
    if (this.hasRoom) this.#release()
  }

  #write(frame: Uint8Array): void {
    this.#pass(frame, [frame])
  }

  #join(frames: readonly Uint8Array[], byteLength: number): void {
    this.#pass(Buffer.concat(frames, byteLength), frames)
  }

  /** A frame is taken when all that was sent before it is, so also one that was copied has to wait. */
  #pass(bytes: Uint8Array, frames: readonly Uint8Array[]): void {
    const taken: (() => void)[] = []
    for (const frame of this.#onTaken.size > 0 ? frames : []) {
      const onTaken = this.#onTaken.get(frame)
      if (onTaken === undefined) continue
      taken.push(onTaken)
      this.#onTaken.delete(frame)
    }
    if (taken.length === 0) this.#stream.write(bytes)
    else this.#stream.write(bytes, (error) => error ?? taken.forEach((onTaken) => onTaken()))
  }

  /** Nothing is sent after this; everyone who waits goes on. */
  close(): void {
    this.#closed = true
    this.#frames = []
    this.#onTaken.clear()
    this.#queuedBytes = 0
    this.#release()
  }

  #release(): void {
    if (!this.#closed && !this.hasRoom) return
    const waiting = this.#waiting
    this.#waiting = []
    for (const resume of waiting) resume()
  }
}
