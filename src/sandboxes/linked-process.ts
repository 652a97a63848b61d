import type { Argv, CallOptions, ExitStatus, OutputLine, Process } from '../spec/index.ts'

/** A process whose errors are explained: a lost connection to a place that has ended is `sandbox-gone`. */
export class LinkedProcess implements Process {
  readonly id: string
  readonly pid: number
  readonly argv: Argv
  readonly fromOffset: Process['fromOffset']
  readonly stdin?: WritableStream<Uint8Array>
  readonly #process: Process
  readonly #explain: (error: unknown) => Promise<unknown>

  constructor(process: Process, explain: (error: unknown) => Promise<unknown>) {
    this.#process = process
    this.#explain = explain
    this.id = process.id
    this.pid = process.pid
    this.argv = process.argv
    this.fromOffset = process.fromOffset
    if (process.stdin !== undefined) this.stdin = process.stdin
  }

  get stdout(): ReadableStream<Uint8Array> {
    return this.#process.stdout
  }

  get stderr(): ReadableStream<Uint8Array> {
    return this.#process.stderr
  }

  async *lines(): AsyncIterable<OutputLine> {
    try {
      yield* this.#process.lines()
    } catch (error) {
      throw await this.#explain(error)
    }
  }

  wait(options?: CallOptions): Promise<ExitStatus> {
    return this.#guard(this.#process.wait(options))
  }

  signal(name?: string): Promise<void> {
    return this.#guard(this.#process.signal(name))
  }

  kill(): Promise<void> {
    return this.#guard(this.#process.kill())
  }

  resize(columns: number, rows: number): Promise<void> {
    return this.#guard(this.#process.resize(columns, rows))
  }

  detach(): Promise<void> {
    return this.#guard(this.#process.detach())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.detach()
  }

  async #guard<T>(call: Promise<T>): Promise<T> {
    try {
      return await call
    } catch (error) {
      throw await this.#explain(error)
    }
  }
}
