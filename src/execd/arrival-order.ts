const MAX_RUNS = 64 * 1024

/**
 * In which order the bytes of two streams came, as runs of one stream each. Bounded: beyond MAX_RUNS changes of stream the
 * order within what waits gets coarser, never the bytes.
 */
export class ArrivalOrder {
  /** Lengths; runs of stdout are positive, runs of stderr negative. */
  #runs: number[] = []
  #first = 0

  add(stream: 'stdout' | 'stderr', byteLength: number): void {
    const signed = stream === 'stdout' ? byteLength : -byteLength
    const last = this.#runs.length - 1
    if (last >= this.#first && Math.sign(this.#runs[last]!) === Math.sign(signed)) this.#runs[last]! += signed
    else if (last - this.#first >= MAX_RUNS) this.#runs[last - 1]! += signed
    else this.#runs.push(signed)
  }

  shift(): { readonly stream: 'stdout' | 'stderr'; readonly byteLength: number } | undefined {
    const run = this.#runs[this.#first]
    if (run === undefined) return undefined
    this.#first++
    if (this.#first === this.#runs.length) {
      this.#runs = []
      this.#first = 0
    } else if (this.#first > MAX_RUNS) {
      this.#runs = this.#runs.slice(this.#first)
      this.#first = 0
    }
    return run > 0 ? { stream: 'stdout', byteLength: run } : { stream: 'stderr', byteLength: -run }
  }

  clear(): void {
    this.#runs = []
    this.#first = 0
  }
}
