/** Limits how many sandboxes start at once and how many are begun in a second: bursts get accounts and machines into trouble. */
export class StartGate {
  readonly #maxStarting: number
  readonly #perSecond: number
  readonly #now: () => number
  #tokens: number
  #filledAtMs: number
  #starting = 0

  constructor(limits: { readonly maxStarting: number; readonly perSecond: number }, now: () => number = Date.now) {
    this.#maxStarting = limits.maxStarting
    this.#perSecond = limits.perSecond
    this.#now = now
    this.#tokens = Math.max(1, limits.perSecond)
    this.#filledAtMs = now()
  }

  get starting(): number {
    return this.#starting
  }

  /** 0: begin, and call `done` afterwards. Else how long to wait; Infinity: until one that is starting is done. */
  tryBegin(): number {
    if (this.#starting >= this.#maxStarting) return Infinity
    const now = this.#now()
    const burst = Math.max(1, this.#perSecond)
    this.#tokens = Math.min(burst, this.#tokens + ((now - this.#filledAtMs) / 1000) * this.#perSecond)
    this.#filledAtMs = now
    if (this.#tokens < 1) return Math.ceil(((1 - this.#tokens) / this.#perSecond) * 1000)
    this.#tokens -= 1
    this.#starting++
    return 0
  }

  done(): void {
    this.#starting--
  }
}
