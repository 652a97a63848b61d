import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Process } from '../spec/index.ts'

export type OutputName = 'stdout' | 'stderr'

/** Takes output; what it promises is waited for before more is read. */
export type OutputSink = (stream: OutputName, bytes: Uint8Array) => Promise<void>

/** Reads both outputs of a process into a sink. Construct it before `process.wait()`, which drops what nobody reads. */
export class OutputFollower {
  readonly #readers: readonly ReadableStreamDefaultReader<Uint8Array>[]
  #chunks = 0
  #busy = 0
  #stopped = false
  /** Settles when both outputs have ended and the sink has all of it, or after `stop`. Rejects as the sink does. */
  readonly done: Promise<void>

  constructor(process: Process, sink: OutputSink) {
    const stdout = process.stdout.getReader()
    const stderr = process.stderr.getReader()
    this.#readers = [stdout, stderr]
    this.done = Promise.all([this.#pump('stdout', stdout, sink), this.#pump('stderr', stderr, sink)]).then(
      () => undefined,
    )
    // Whoever waits for it sees the failure; until then it must not be one that nobody handles.
    this.done.catch(() => undefined)
  }

  /** Stops reading; output that comes later is not for us. */
  async stop(): Promise<void> {
    this.#stopped = true
    await Promise.all(this.#readers.map((reader) => reader.cancel().catch(() => undefined)))
  }

  /**
   * Resolves when everything is read that was there when it was called. `roundTrip` goes to the place and back on the
   * same connection, so what had been sent before is here when it returns.
   */
  async caughtUp(roundTrip: () => Promise<unknown>): Promise<void> {
    let quiet = 0
    while (quiet < 2) {
      const before = this.#chunks
      await Promise.race([roundTrip(), this.done])
      await nextTurn()
      quiet = this.#chunks === before && this.#busy === 0 ? quiet + 1 : 0
    }
  }

  async #pump(name: OutputName, reader: ReadableStreamDefaultReader<Uint8Array>, sink: OutputSink): Promise<void> {
    for (;;) {
      const { done, value } = await reader.read()
      if (done || this.#stopped) return
      this.#chunks++
      this.#busy++
      try {
        await sink(name, value)
      } finally {
        this.#busy--
      }
    }
  }
}
