import { setTimeout as sleep } from 'node:timers/promises'
import { AnyplaceError } from '../spec/index.ts'
import type { Argv, ExitStatus, Process, Session } from '../spec/index.ts'
import type { OutputSink, TransientProcess } from '../execd/run-process.ts'

/** Waits between attempts to reach a running command again: about half a minute altogether. */
const RESUME_DELAYS_MS = [0, 50, 100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000, 5000] as const
const WORTH_ANOTHER_TRY = ['connection-lost', 'engine-unavailable', 'timeout'] as const

type Stream = 'stdout' | 'stderr'

/** Counts what a sink was given, so that a lost stream can be taken up at the right byte. */
export class CountingSink {
  readonly offsets: Record<Stream, number> = { stdout: 0, stderr: 0 }
  readonly take: OutputSink

  constructor(sink: OutputSink) {
    this.take = (stream, bytes) => {
      this.offsets[stream] += bytes.byteLength
      sink(stream, bytes)
    }
  }
}

/**
 * The process of a `run` that survives a lost link: the command runs on and is attached to again from the byte reached.
 * `finished` gives the end with all output delivered, or rejects and says what is unknown.
 */
export class ResumableProcess implements TransientProcess {
  readonly id: string
  readonly stdin: WritableStream<Uint8Array> | undefined
  readonly #process: TransientProcess
  readonly #session: Session
  readonly #argv: Argv
  readonly #sink: CountingSink
  readonly #hasInput: boolean
  #resumed: Process | undefined
  #isCancelled = false

  constructor(
    process: TransientProcess,
    parts: { readonly session: Session; readonly argv: Argv; readonly sink: CountingSink; readonly hasInput: boolean },
  ) {
    this.#process = process
    this.#session = parts.session
    this.#argv = parts.argv
    this.#sink = parts.sink
    this.#hasInput = parts.hasInput
    this.id = process.id
    this.stdin = process.stdin
  }

  async finished(): Promise<ExitStatus> {
    try {
      return await this.#process.finished()
    } catch (error) {
      if (!AnyplaceError.is(error, 'connection-lost')) throw error
      return await this.#resume(error)
    }
  }

  async cancel(): Promise<void> {
    this.#isCancelled = true
    // Until it is found again, the resuming itself sees to the kill.
    await (this.#resumed === undefined ? this.#process.cancel() : this.#resumed.kill())
  }

  async #resume(lost: AnyplaceError): Promise<ExitStatus> {
    let last: AnyplaceError = lost
    for (const delayMs of RESUME_DELAYS_MS) {
      await sleep(delayMs)
      try {
        return await this.#followOnce(lost)
      } catch (error) {
        if (!AnyplaceError.is(error) || error.code === 'sandbox-gone' || error.data?.['outcome'] === 'unknown')
          throw error
        last = error
        if (!WORTH_ANOTHER_TRY.some((code) => error.code === code)) break
      }
    }
    throw this.#unknown('whether and how it ended is unknown', last)
  }

  async #followOnce(lost: AnyplaceError): Promise<ExitStatus> {
    await using process = await this.#session.attach(this.id, { fromOffset: { ...this.#sink.offsets } })
    this.#resumed = process
    if (this.#hasInput) {
      await process.kill()
      throw this.#unknown('how much of its input arrived is unknown, so it was killed', lost)
    }
    if (this.#isCancelled) await process.kill()
    const drain = async (name: Stream): Promise<void> => {
      for await (const bytes of process[name]) this.#sink.take(name, bytes)
    }
    const [exit] = await Promise.all([process.wait(), drain('stdout'), drain('stderr')])
    return exit
  }

  #unknown(what: string, cause: AnyplaceError): AnyplaceError {
    const { stdout, stderr } = this.#sink.offsets
    return new AnyplaceError(
      'connection-lost',
      `The connection was lost while ${JSON.stringify(this.#argv[0] ?? '')} ran (process ${this.id}): ${what}; ` +
        `${stdout} bytes of its stdout and ${stderr} of its stderr arrived.`,
      {
        cause,
        hint: 'attach to the process by its id to see whether it still runs',
        // The same call is not safe to repeat: the command may have done its work.
        retryable: false,
        data: { processId: this.id, stdoutOffset: stdout, stderrOffset: stderr, outcome: 'unknown' },
      },
    )
  }
}
