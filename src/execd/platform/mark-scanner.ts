const START = 0x01
const STOP = 0x02
/** No mark is longer; what looks like one and is longer is output. */
const MAX_MARK_BYTES = 400

/** A piece of an output: bytes of the command, or a message of the script around it. */
export type ScannedPiece = { readonly bytes: Uint8Array } | { readonly mark: readonly string[] }

/**
 * Finds the marks `\u0001anyplace NONCE word…\u0002` in an output, wherever chunks break. All other bytes come through
 * unchanged and in order. The nonce is fresh for each command, so no output holds a mark by chance.
 */
export class MarkScanner {
  readonly #prefix: Buffer
  #held: Buffer = Buffer.alloc(0)

  constructor(nonce: string) {
    this.#prefix = Buffer.from(`\u0001anyplace ${nonce} `)
  }

  push(chunk: Uint8Array): ScannedPiece[] {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
    let rest = this.#held.length === 0 ? bytes : Buffer.concat([this.#held, bytes])
    this.#held = Buffer.alloc(0)
    const pieces: ScannedPiece[] = []
    for (;;) {
      const at = rest.indexOf(this.#prefix)
      if (at < 0) break
      if (at > 0) pieces.push({ bytes: rest.subarray(0, at) })
      const stop = rest.indexOf(STOP, at + this.#prefix.length)
      if (stop < 0 && rest.length - at < MAX_MARK_BYTES) {
        this.#held = Buffer.from(rest.subarray(at))
        return pieces
      }
      if (stop < 0 || stop - at >= MAX_MARK_BYTES) {
        pieces.push({ bytes: rest.subarray(at, at + this.#prefix.length) })
        rest = rest.subarray(at + this.#prefix.length)
        continue
      }
      pieces.push({ mark: rest.toString('latin1', at + this.#prefix.length, stop).split(' ') })
      rest = rest.subarray(stop + 1)
    }
    const keep = this.#possibleStart(rest)
    if (keep > 0) pieces.push({ bytes: rest.subarray(0, keep) })
    if (keep < rest.length) this.#held = Buffer.from(rest.subarray(keep))
    return pieces
  }

  /** What was held back because it could have become a mark. */
  end(): Uint8Array {
    const held = this.#held
    this.#held = Buffer.alloc(0)
    return held
  }

  /** Where a prefix may begin that the next chunk completes; the length when nowhere. */
  #possibleStart(rest: Buffer): number {
    let from = Math.max(0, rest.length - this.#prefix.length + 1)
    for (;;) {
      const at = rest.indexOf(START, from)
      if (at < 0) return rest.length
      if (this.#prefix.subarray(0, rest.length - at).equals(rest.subarray(at))) return at
      from = at + 1
    }
  }
}
