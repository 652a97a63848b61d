import type { CliIo } from './cli-io.ts'
import { writeAll } from './cli-io.ts'
import { bytesField, CharacterBoundary } from './json-bytes.ts'
import type { OutputName, OutputSink } from './output-follower.ts'
import type { Reporter } from './reporter.ts'

/** Output to our own stdout and stderr, byte for byte, as fast as they take it. Once we are cancelled nothing waits any more. */
export function passThrough(io: CliIo): OutputSink {
  const cancelled = new Promise<void>((resolve) => {
    if (io.signal.aborted) resolve()
    else io.signal.addEventListener('abort', () => resolve(), { once: true })
  })
  return (stream, bytes) => Promise.race([writeAll(io[stream], bytes), cancelled])
}

/** Output as JSON lines: `{ type: 'output', stream, offset, data }`. */
export class OutputEvents {
  readonly #reporter: Reporter
  readonly #boundaries = { stdout: new CharacterBoundary(), stderr: new CharacterBoundary() }
  readonly #offsets: Record<OutputName, number>

  constructor(reporter: Reporter, fromOffset: Readonly<Record<OutputName, number>>) {
    this.#reporter = reporter
    this.#offsets = { ...fromOffset }
  }

  readonly sink: OutputSink = (stream, bytes) => this.#emit(stream, this.#boundaries[stream].push(bytes))

  /** Writes what is left of an unfinished character. */
  async end(): Promise<void> {
    for (const stream of ['stdout', 'stderr'] as const) await this.#emit(stream, this.#boundaries[stream].end())
  }

  async #emit(stream: OutputName, bytes: Uint8Array): Promise<void> {
    if (bytes.length === 0) return
    const offset = this.#offsets[stream]
    this.#offsets[stream] += bytes.length
    await this.#reporter.event({ source: 'command', type: 'output', stream, offset, ...bytesField('data', bytes) })
  }
}
