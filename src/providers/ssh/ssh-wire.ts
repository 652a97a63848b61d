/** Reads the values that SSH messages and keys are made of (RFC 4251, section 5). */
export class WireReader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  /** Bytes that were not read yet. */
  get remaining(): number {
    return this.#bytes.length - this.#at
  }

  byte(): number {
    return this.take(1)[0] ?? 0
  }

  uint32(): number {
    return this.take(4).readUInt32BE()
  }

  /** A string: its length, then its bytes. A view, not a copy. */
  string(): Buffer {
    return this.take(this.uint32())
  }

  text(): string {
    return this.string().toString('utf8')
  }

  /** @throws RangeError when there are fewer bytes than that */
  take(length: number): Buffer {
    if (length > this.remaining) throw new RangeError('The bytes end too early.')
    const bytes = this.#bytes.subarray(this.#at, this.#at + length)
    this.#at += length
    return bytes
  }
}

export function wireUint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

/** A string as SSH writes it: its length, then its bytes. Text as UTF-8. */
export function wireString(value: Uint8Array | string): Buffer {
  const bytes = typeof value === 'string' ? Buffer.from(value, 'utf8') : value
  return Buffer.concat([wireUint32(bytes.length), bytes])
}

/** A positive whole number, given as its bytes, highest first. */
export function wireInteger(magnitude: Uint8Array): Buffer {
  let from = 0
  while (from < magnitude.length && magnitude[from] === 0) from++
  const bytes = magnitude.subarray(from)
  // The highest bit is the sign, so a number that has it set is given a zero byte in front.
  return wireString(bytes.length > 0 && (bytes[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.from([0]), bytes]) : bytes)
}
