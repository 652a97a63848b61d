import { AnyplaceError } from '../spec/index.ts'
import { throwIfAborted, untilAborted } from './deadline.ts'
import { TAR_BLOCK_BYTES, decodePaxRecords, decodeTarHeader, paddingAfter, readText } from './tar-header.ts'
import type { TarHeader } from './tar-header.ts'

const MAX_EXTENSION_BYTES = 1024 * 1024
const MAX_TRAILING_BYTES = 16 * 1024 * 1024
const WITHOUT_BODY = new Set(['1', '2', '3', '4', '5', '6'])

/**
 * Reads a tar entry by entry: v7, ustar, GNU long names, pax. Holds one chunk of the source and, of an entry, no more than
 * was asked for. What the names and types mean is the caller's to judge.
 */
export class TarReader {
  readonly #iterator: AsyncIterator<Uint8Array>
  readonly #signal: AbortSignal | undefined
  readonly #maxHeaders: number
  #chunk: Buffer = Buffer.alloc(0)
  #offset = 0
  #bodyBytes = 0
  #padding = 0
  #headers = 0
  #global = new Map<string, string>()

  constructor(
    source: AsyncIterable<Uint8Array>,
    options: { readonly maxEntries: number; readonly signal?: AbortSignal | undefined },
  ) {
    this.#iterator = source[Symbol.asyncIterator]()
    this.#signal = options.signal
    this.#maxHeaders = options.maxEntries
  }

  /**
   * The next entry, or undefined after the last. What is left of the previous body is skipped. At the end the source is
   * read to its own end, so that its sender can finish.
   *
   * @throws AnyplaceError `protocol-error` for a damaged or cut archive, `resource-exhausted` for too many entries
   */
  async next(): Promise<TarHeader | undefined> {
    while (this.#bodyBytes > 0) await this.readSome(this.#bodyBytes)
    await this.#skip(this.#padding)
    this.#padding = 0
    let longName: string | undefined
    let longLinkName: string | undefined
    let pax = this.#global
    for (;;) {
      const header = decodeTarHeader(this.#takeNow(TAR_BLOCK_BYTES) ?? (await this.#take(TAR_BLOCK_BYTES)))
      if (header === undefined) {
        await this.#drain()
        return undefined
      }
      this.#count()
      if (header.type === 'L') {
        longName = await this.#longName(header)
      } else if (header.type === 'K') {
        longLinkName = await this.#longName(header)
      } else if (header.type === 'x') {
        pax = new Map([...this.#global, ...decodePaxRecords(await this.#extension(header))])
      } else if (header.type === 'g') {
        this.#global = new Map([...this.#global, ...decodePaxRecords(await this.#extension(header))])
        pax = this.#global
      } else {
        return this.#begin(header, pax, longName, longLinkName)
      }
    }
  }

  /** Up to `maxBytes` of the entry's body, at least one; undefined at its end. They are the source's own. */
  async readSome(maxBytes: number): Promise<Uint8Array | undefined> {
    if (this.#bodyBytes === 0) return undefined
    if (this.#offset === this.#chunk.byteLength) await this.#fetch()
    const bytes = this.#chunk.subarray(this.#offset, this.#offset + Math.min(maxBytes, this.#bodyBytes))
    this.#offset += bytes.byteLength
    this.#bodyBytes -= bytes.byteLength
    return bytes
  }

  /** The rest of the entry's body, in one piece: for small ones. A promise only when it is not all there yet. */
  readAll(): Uint8Array | Promise<Uint8Array> {
    const length = this.#bodyBytes
    this.#bodyBytes = 0
    return this.#takeNow(length) ?? this.#take(length)
  }

  /** Lets go of the source. Does not wait for it, because it may be stuck. */
  release(): void {
    void Promise.resolve(this.#iterator.return?.()).catch(() => {})
  }

  #begin(header: TarHeader, pax: Map<string, string>, longName?: string, longLinkName?: string): TarHeader {
    const sparse = [...pax.keys()].find((key) => key.startsWith('GNU.sparse.'))
    const name = pax.get('path') ?? longName ?? header.name
    const isOldDirectory = header.type === '0' && name.endsWith('/')
    const type = sparse === undefined ? (isOldDirectory ? '5' : header.type) : 'S'
    const declared = numberOr(pax.get('size'), header.sizeBytes)
    if (!Number.isSafeInteger(declared) || declared < 0) {
      throw new AnyplaceError('protocol-error', `The archive's entry ${JSON.stringify(name)} has no valid size.`)
    }
    const sizeBytes = WITHOUT_BODY.has(type) ? 0 : declared
    this.#bodyBytes = sizeBytes
    this.#padding = paddingAfter(sizeBytes)
    return {
      type,
      name,
      linkName: pax.get('linkpath') ?? longLinkName ?? header.linkName,
      sizeBytes,
      mode: header.mode,
      modifiedSeconds: numberOr(pax.get('mtime'), header.modifiedSeconds),
    }
  }

  async #longName(header: TarHeader): Promise<string> {
    const bytes = await this.#extension(header)
    return readText(bytes, 0, bytes.byteLength)
  }

  async #extension(header: TarHeader): Promise<Buffer> {
    if (header.sizeBytes > MAX_EXTENSION_BYTES) {
      throw new AnyplaceError('protocol-error', `The archive has an extended header of ${header.sizeBytes} bytes.`)
    }
    const bytes = Buffer.from(await this.#take(header.sizeBytes))
    await this.#skip(paddingAfter(header.sizeBytes))
    return bytes
  }

  #count(): void {
    this.#headers++
    if (this.#headers > this.#maxHeaders) {
      throw new AnyplaceError('resource-exhausted', `The archive has more than ${this.#maxHeaders} entries.`, {
        retryable: false,
        data: { limit: this.#maxHeaders },
      })
    }
  }

  #takeNow(length: number): Buffer | undefined {
    if (this.#chunk.byteLength - this.#offset < length) return undefined
    return this.#chunk.subarray(this.#offset, (this.#offset += length))
  }

  async #take(length: number): Promise<Buffer> {
    const now = this.#takeNow(length)
    if (now !== undefined) return now
    const parts: Buffer[] = []
    let missing = length
    while (missing > 0) {
      if (this.#offset === this.#chunk.byteLength) await this.#fetch()
      const part = this.#chunk.subarray(this.#offset, this.#offset + missing)
      this.#offset += part.byteLength
      missing -= part.byteLength
      parts.push(part)
    }
    return Buffer.concat(parts, length)
  }

  async #skip(length: number): Promise<void> {
    if (length > 0 && this.#takeNow(length) === undefined) await this.#take(length)
  }

  async #fetch(): Promise<void> {
    if (!(await this.#advance())) {
      throw new AnyplaceError('protocol-error', 'The archive is cut off: it ended before its end mark.')
    }
  }

  async #advance(): Promise<boolean> {
    for (;;) {
      throwIfAborted(this.#signal)
      const result = await untilAborted(this.#iterator.next(), this.#signal)
      if (result.done === true) return false
      const { value } = result
      if (value.byteLength === 0) continue
      this.#chunk = Buffer.from(value.buffer, value.byteOffset, value.byteLength)
      this.#offset = 0
      return true
    }
  }

  async #drain(): Promise<void> {
    let trailing = 0
    while (await this.#advance()) {
      trailing += this.#chunk.byteLength
      if (trailing > MAX_TRAILING_BYTES) {
        throw new AnyplaceError('protocol-error', 'The archive goes on long after its end mark.')
      }
    }
  }
}

function numberOr(text: string | undefined, otherwise: number): number {
  return text === undefined ? otherwise : Number(text)
}
