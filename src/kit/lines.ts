import type { ByteSource } from './collect.ts'
import { utf8Lossy } from './text-bytes.ts'

const LINE_FEED = 0x0a

/**
 * Cuts bytes into lines of text, whatever the borders of the chunks. A line ends with LF, which is not part of it (a CR
 * before it is). Broken UTF-8 becomes U+FFFD.
 *
 * A line that is never ended is cut once `maxLineBytes` of it are waiting, so that memory stays bounded.
 */
export class LineSplitter {
  readonly #maxLineBytes: number
  #waiting: Uint8Array[] = []
  #waitingBytes = 0

  /** @param options.maxLineBytes @default 1_048_576 */
  constructor(options: { readonly maxLineBytes?: number | undefined } = {}) {
    this.#maxLineBytes = options.maxLineBytes ?? 1024 * 1024
  }

  /** Takes a chunk and gives the lines that it completed. The chunk must not be changed afterwards. */
  push(chunk: Uint8Array): string[] {
    const lastFeed = chunk.lastIndexOf(LINE_FEED)
    const lines = lastFeed < 0 ? [] : utf8Lossy(this.#take(chunk.subarray(0, lastFeed))).split('\n')
    const rest = chunk.subarray(lastFeed + 1)
    if (rest.byteLength > 0) {
      this.#waiting.push(rest)
      this.#waitingBytes += rest.byteLength
    }
    if (this.#waitingBytes > this.#maxLineBytes) {
      const bytes = this.#take(new Uint8Array(0))
      const cut = wholeCharacters(bytes)
      lines.push(utf8Lossy(bytes.subarray(0, cut)))
      if (cut < bytes.byteLength) {
        this.#waiting = [bytes.slice(cut)]
        this.#waitingBytes = bytes.byteLength - cut
      }
    }
    return lines
  }

  /** The last line when it had no LF; else undefined. */
  end(): string | undefined {
    return this.#waitingBytes === 0 ? undefined : utf8Lossy(this.#take(new Uint8Array(0)))
  }

  #take(last: Uint8Array): Uint8Array {
    const bytes = this.#waiting.length === 0 ? last : Buffer.concat([...this.#waiting, last])
    this.#waiting = []
    this.#waitingBytes = 0
    return bytes
  }
}

/** The lines of a byte stream, as {@link LineSplitter} cuts them; a last line without LF is kept. */
export async function* splitLines(
  chunks: ByteSource,
  options: { readonly maxLineBytes?: number | undefined } = {},
): AsyncGenerator<string, void, undefined> {
  const splitter = new LineSplitter(options)
  for await (const chunk of chunks) yield* splitter.push(chunk)
  const last = splitter.end()
  if (last !== undefined) yield last
}

/** Where the bytes can be cut without breaking their last character. */
function wholeCharacters(bytes: Uint8Array): number {
  let start = bytes.byteLength - 1
  while (start > 0 && bytes.byteLength - start < 4 && (bytes[start]! & 0xc0) === 0x80) start--
  const first = bytes[start] ?? 0
  const needed = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc0 ? 2 : 1
  // A whole character stays; and a cut at 0 would hand out nothing.
  return start + needed <= bytes.byteLength || start === 0 ? bytes.byteLength : start
}
