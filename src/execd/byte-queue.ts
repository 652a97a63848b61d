const SMALL_BLOCK_BYTES = 1024
const BLOCK_BYTES = 64 * 1024

/**
 * Bytes that wait for their reader. Small chunks are copied together, so that a million chunks of one byte cost no more
 * than one of a million; a chunk is only kept as it is when it fills at least half of the memory behind it.
 */
export class ByteQueue {
  byteLength = 0
  #blocks: Uint8Array[] = []
  #first = 0
  /** The last block while it has room: its used part is the last entry of #blocks. */
  #tail: Uint8Array | undefined
  #tailFill = 0
  #blockBytes = SMALL_BLOCK_BYTES

  push(bytes: Uint8Array): void {
    if (bytes.byteLength === 0) return
    this.byteLength += bytes.byteLength
    if (bytes.byteLength >= BLOCK_BYTES / 4 && bytes.byteLength * 2 >= bytes.buffer.byteLength) {
      this.#tail = undefined
      this.#blocks.push(new Uint8Array(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.byteLength))
      return
    }
    let rest = bytes
    if (this.#tail !== undefined) {
      const part = rest.subarray(0, this.#tail.byteLength - this.#tailFill)
      this.#append(part)
      rest = rest.subarray(part.byteLength)
    }
    if (rest.byteLength === 0) return
    this.#tail = new Uint8Array(Math.max(rest.byteLength, this.#blockBytes))
    this.#blockBytes = Math.min(this.#blockBytes * 2, BLOCK_BYTES)
    this.#tailFill = 0
    this.#blocks.push(this.#tail.subarray(0, 0))
    this.#append(rest)
  }

  /** The next bytes, at most `maxBytes` and not empty; undefined when there are none. They belong to the caller. */
  shift(maxBytes: number): Uint8Array | undefined {
    const block = this.#blocks[this.#first]
    if (block === undefined) return undefined
    let result = block
    if (block.byteLength > maxBytes) {
      result = block.subarray(0, maxBytes)
      this.#blocks[this.#first] = block.subarray(maxBytes)
    } else {
      this.#first++
    }
    // The caller owns the memory from now on and may hand it to another thread: nothing more is written into it.
    if (this.#first >= this.#blocks.length - 1) this.#tail = undefined
    if (this.#first === this.#blocks.length) {
      this.#blocks = []
      this.#first = 0
      this.#blockBytes = SMALL_BLOCK_BYTES
    } else if (this.#first > 1024) {
      this.#blocks = this.#blocks.slice(this.#first)
      this.#first = 0
    }
    this.byteLength -= result.byteLength
    return result
  }

  clear(): void {
    this.byteLength = 0
    this.#blocks = []
    this.#first = 0
    this.#tail = undefined
    this.#blockBytes = SMALL_BLOCK_BYTES
  }

  #append(part: Uint8Array): void {
    const tail = this.#tail!
    tail.set(part, this.#tailFill)
    this.#tailFill += part.byteLength
    const last = this.#blocks.length - 1
    const start = this.#blocks[last]!.byteOffset
    this.#blocks[last] = new Uint8Array(tail.buffer as ArrayBuffer, start, this.#tailFill - start)
    if (this.#tailFill === tail.byteLength) this.#tail = undefined
  }
}
