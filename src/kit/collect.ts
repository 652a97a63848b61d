import { AnyplaceError } from '../spec/index.ts'

/** Anything that hands out bytes: a Node Readable, a web ReadableStream, an async generator. */
export type ByteSource = AsyncIterable<Uint8Array>

/**
 * All bytes of a stream as one array.
 *
 * @throws AnyplaceError `resource-exhausted` once there are more than maxBytes; the stream is then closed
 */
export async function collectBytes(stream: ByteSource, options: { readonly maxBytes: number }): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of stream) {
    length += chunk.byteLength
    if (length > options.maxBytes) {
      throw new AnyplaceError('resource-exhausted', `There are more than ${options.maxBytes} bytes.`, {
        hint: 'raise maxBytes, or read it as a stream',
        retryable: false,
        data: { limitBytes: options.maxBytes },
      })
    }
    chunks.push(chunk)
  }
  return Buffer.concat(chunks, length)
}

const BLOCK_BYTES = 64 * 1024

/** Bytes copied into blocks, so that a million one-byte chunks cost no more than one big one. */
class ByteQueue {
  length = 0
  #blocks: Uint8Array[] = []
  /** Used bytes of the last block, and dropped bytes of the first. */
  #fill = 0
  #dropped = 0

  push(bytes: Uint8Array): void {
    let rest = bytes
    while (rest.byteLength > 0) {
      let last = this.#blocks.at(-1)
      if (last === undefined || this.#fill === last.byteLength) {
        last = new Uint8Array(BLOCK_BYTES)
        this.#blocks.push(last)
        this.#fill = 0
      }
      const part = rest.subarray(0, last.byteLength - this.#fill)
      last.set(part, this.#fill)
      this.#fill += part.byteLength
      this.length += part.byteLength
      rest = rest.subarray(part.byteLength)
    }
  }

  keepLast(bytes: number): void {
    let surplus = this.length - bytes
    if (surplus <= 0) return
    this.length = bytes
    while (surplus > 0) {
      const held = BLOCK_BYTES - this.#dropped
      if (surplus < held) {
        this.#dropped += surplus
        return
      }
      surplus -= held
      this.#blocks.shift()
      this.#dropped = 0
    }
  }

  copyTo(target: Uint8Array, offset: number): void {
    let from = this.#dropped
    let at = offset
    for (const [index, block] of this.#blocks.entries()) {
      const until = index === this.#blocks.length - 1 ? this.#fill : block.byteLength
      target.set(block.subarray(from, until), at)
      at += until - from
      from = 0
    }
  }
}

/**
 * Keeps the output of a command up to `maxBytes`: its first bytes (`head`), its last (`tail`) or half of each (`both`).
 * Memory stays below maxBytes and 128 KiB whatever is pushed. The bytes are copied.
 */
export class OutputCollector {
  /** Bytes pushed so far, kept or not. */
  totalBytes = 0
  readonly #head = new ByteQueue()
  readonly #tail = new ByteQueue()
  readonly #headBytes: number
  readonly #tailBytes: number

  constructor(options: { readonly maxBytes: number; readonly keep: 'head' | 'tail' | 'both' }) {
    const { maxBytes, keep } = options
    if (!Number.isSafeInteger(maxBytes) || maxBytes < 0) {
      throw new AnyplaceError('invalid-argument', `maxBytes must be a whole number of 0 or more (got ${maxBytes}).`)
    }
    this.#headBytes = keep === 'head' ? maxBytes : keep === 'tail' ? 0 : Math.ceil(maxBytes / 2)
    this.#tailBytes = maxBytes - this.#headBytes
  }

  /** True when some of the bytes pushed were left out. */
  get truncated(): boolean {
    return this.omittedBytes > 0
  }

  /** How many bytes were left out; with `both` they lie between the two halves. */
  get omittedBytes(): number {
    return this.totalBytes - this.#head.length - this.#tail.length
  }

  push(bytes: Uint8Array): void {
    this.totalBytes += bytes.byteLength
    const room = this.#headBytes - this.#head.length
    if (room > 0) this.#head.push(bytes.subarray(0, room))
    if (this.#tailBytes === 0) return
    const rest = bytes.subarray(Math.max(0, room))
    this.#tail.push(rest.subarray(Math.max(0, rest.byteLength - this.#tailBytes)))
    this.#tail.keepLast(this.#tailBytes)
  }

  /** What was kept, as one array. */
  bytes(): Uint8Array {
    const result = new Uint8Array(this.#head.length + this.#tail.length)
    this.#head.copyTo(result, 0)
    this.#tail.copyTo(result, this.#head.length)
    return result
  }
}
