import type { Readable } from 'node:stream'
import { MarkScanner } from './mark-scanner.ts'

/** Unread output that is taken from the platform before it has to wait. */
const WINDOW_BYTES = 1024 * 1024

/**
 * One output of a command: takes bytes from the platform's stream, cuts the marks out, keeps at most one window of bytes
 * that nobody has read, and hands them to {@link OutputPump.stream}.
 */
export class OutputPump {
  readonly stream: ReadableStream<Uint8Array>
  /** Settles when the output is complete: true with its end mark, false when the platform's stream ended without one. */
  readonly ended: Promise<boolean>
  readonly #source: Readable
  readonly #scanner: MarkScanner
  readonly #onMark: (words: readonly string[]) => void
  #queue: Uint8Array[] = []
  #queuedBytes = 0
  #window = WINDOW_BYTES
  /** Bytes before this are noise of the platform or of the shell. */
  #isOpen: boolean
  #isFinished = false
  #failure: Error | undefined
  #wake: (() => void) | undefined
  #dropping = false
  #isCancelled = false
  #settle: (complete: boolean) => void = () => {}

  /** @param options.startsAt `mark`: bytes before the mark `start` are no output */
  constructor(
    source: Readable,
    options: {
      readonly nonce: string
      readonly startsAt: 'mark' | 'once'
      readonly onMark: (words: readonly string[]) => void
    },
  ) {
    this.#source = source
    this.#scanner = new MarkScanner(options.nonce)
    this.#onMark = options.onMark
    this.#isOpen = options.startsAt === 'once'
    this.ended = new Promise((resolve) => {
      this.#settle = resolve
    })
    this.stream = new ReadableStream<Uint8Array>(
      { pull: (controller) => this.#pull(controller), cancel: () => this.#discard() },
      { highWaterMark: 0 },
    )
    source.on('data', (chunk: Uint8Array) => {
      this.#take(chunk)
    })
    // An error of the stream shows as the channel's exit, which says more.
    source.on('error', () => this.#finishSource())
    source.on('end', () => this.#finishSource())
    source.on('close', () => this.#finishSource())
  }

  /** From now on output that nobody is reading is thrown away instead of holding the command up. */
  drop(): void {
    this.#dropping = true
    this.#makeRoom()
  }

  /** Ends what {@link OutputPump.drop} began. */
  keep(): void {
    this.#dropping = false
  }

  /**
   * From now on everything is taken, read or not. For a command that is being killed: what is left is little, and some
   * engines (Docker 20) tell of no command's end while the output of an ended one waits.
   */
  takeAll(): void {
    this.#window = Number.POSITIVE_INFINITY
    this.#makeRoom()
  }

  #discard(): void {
    this.#isCancelled = true
    this.drop()
  }

  /** Ends the stream for its reader: with an error when there is one. */
  finish(failure?: Error): void {
    if (this.#isFinished) return
    this.#isFinished = true
    this.#failure = failure
    this.#wake?.()
    this.#settle(false)
  }

  #take(chunk: Uint8Array): void {
    if (this.#isFinished) return
    for (const piece of this.#scanner.push(chunk)) {
      if ('bytes' in piece) {
        if (this.#isOpen) this.#enqueue(piece.bytes)
        continue
      }
      if (piece.mark[0] === 'start') this.#isOpen = true
      this.#onMark(piece.mark)
      if (piece.mark[0] === 'end') {
        this.#isFinished = true
        this.#settle(true)
        break
      }
    }
    this.#makeRoom()
    this.#wake?.()
    if (!this.#isFinished && this.#queuedBytes >= this.#window) this.#source.pause()
  }

  #finishSource(): void {
    if (this.#isFinished) return
    const rest = this.#scanner.end()
    if (this.#isOpen && rest.byteLength > 0) this.#enqueue(rest)
    this.#settle(false)
    this.#wake?.()
  }

  #enqueue(bytes: Uint8Array): void {
    if (bytes.byteLength === 0) return
    this.#queue.push(bytes)
    this.#queuedBytes += bytes.byteLength
  }

  #makeRoom(): void {
    if (this.#isCancelled || (this.#dropping && !this.stream.locked)) {
      this.#queue = []
      this.#queuedBytes = 0
    }
    if (this.#queuedBytes < this.#window && this.#source.isPaused()) this.#source.resume()
  }

  async #pull(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    while (this.#queue.length === 0 && !this.#isFinished) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    this.#wake = undefined
    const bytes = this.#queue.shift()
    if (bytes !== undefined) {
      this.#queuedBytes -= bytes.byteLength
      controller.enqueue(bytes)
      this.#makeRoom()
    } else if (this.#failure === undefined) controller.close()
    else controller.error(this.#failure)
  }
}
