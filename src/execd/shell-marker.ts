import type { OutputCollector } from '../kit/collect.ts'

/** The marker's line may hold a path. */
const MOST_LAST_WORDS = 64 * 1024

/** Cuts one stream of a shell into the outputs of its commands, each ended by a line `MARK REST` and NUL. */
export class MarkerScan {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>
  #rest: Buffer = Buffer.alloc(0)

  constructor(stream: ReadableStream<Uint8Array>) {
    this.#reader = stream.getReader()
  }

  /** Output goes to the collector until the mark comes; gives what stands behind the mark, undefined when the stream ends before it. */
  async until(mark: string, collector: OutputCollector): Promise<string | undefined> {
    const begin = Buffer.from(`\n${mark}`)
    for (;;) {
      const at = this.#rest.indexOf(begin)
      if (at >= 0) {
        const end = this.#rest.indexOf(0, at)
        if (end >= 0) {
          collector.push(this.#rest.subarray(0, at))
          const words = this.#rest.toString('utf8', at + begin.byteLength, end).trimStart()
          this.#rest = this.#rest.subarray(end + 1)
          return words
        }
        if (this.#rest.byteLength - at > MOST_LAST_WORDS) return undefined
      } else {
        // A mark may have begun in the last bytes.
        const sure = Math.max(0, this.#rest.byteLength - begin.byteLength + 1)
        if (sure > 0) {
          collector.push(this.#rest.subarray(0, sure))
          this.#rest = this.#rest.subarray(sure)
        }
      }
      const { done, value } = await this.#reader.read()
      if (done) {
        collector.push(this.#rest)
        this.#rest = Buffer.alloc(0)
        return undefined
      }
      this.#rest = this.#rest.byteLength === 0 ? Buffer.from(value) : Buffer.concat([this.#rest, value])
    }
  }
}
