import { setTimeout as sleep } from 'node:timers/promises'
import { AnyplaceError, CommandError, DEFAULTS } from '../spec/index.ts'
import type { Argv, ExitStatus, Process, RunOptions, RunResult, Session, SpawnOptions } from '../spec/index.ts'
import { OutputCollector } from '../kit/collect.ts'
import { throwIfAborted } from '../kit/deadline.ts'
import { newId } from '../kit/ids.ts'
import { utf8Lossy } from '../kit/text-bytes.ts'
import { feedInput } from './feed-input.ts'
import type { InputFeed } from './feed-input.ts'

/** Waits between attempts to reach a running command again: about half a minute altogether. */
const RESUME_DELAYS_MS = [0, 50, 100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000, 5000] as const
const RETRYABLE = ['connection-lost', 'engine-unavailable', 'timeout'] as const

/**
 * Runs a command and collects what it prints. When the link is lost, the command runs on and is attached to again from
 * the byte reached, so that the result is complete or the call rejects and says what is unknown.
 *
 * @throws AnyplaceError `cancelled` when aborted before the start; CommandError with `check`; `connection-lost`
 */
export async function runCommand(session: Session, argv: Argv, options: RunOptions = {}): Promise<RunResult> {
  const { input, check = false, maxOutputBytes, keep = 'tail', onOutput, signal, ...rest } = options
  throwIfAborted(signal)
  const run = new CommandRun(session, argv, {
    stdout: new OutputCollector({ maxBytes: maxOutputBytes ?? DEFAULTS.maxOutputBytes, keep }),
    stderr: new OutputCollector({ maxBytes: maxOutputBytes ?? DEFAULTS.maxOutputBytes, keep }),
  })
  const spawnOptions: SpawnOptions = {
    ...rest,
    key: rest.key ?? newId(),
    stdin: input === undefined ? 'none' : 'pipe',
    signal,
  }
  const result = await run.complete(spawnOptions, input, onOutput, signal)
  if (check && result.exitCode !== 0) throw new CommandError(argv, result)
  return result
}

type Stream = 'stdout' | 'stderr'

class CommandRun {
  readonly #session: Session
  readonly #argv: Argv
  readonly #collected: Readonly<Record<Stream, OutputCollector>>
  #process: Process | undefined
  #aborted = false

  constructor(session: Session, argv: Argv, collected: Readonly<Record<Stream, OutputCollector>>) {
    this.#session = session
    this.#argv = argv
    this.#collected = collected
  }

  async complete(
    spawnOptions: SpawnOptions,
    input: RunOptions['input'],
    onOutput: RunOptions['onOutput'],
    signal: AbortSignal | undefined,
  ): Promise<RunResult> {
    let process = await this.#session.spawn(this.#argv, spawnOptions)
    this.#process = process
    const feed = input === undefined ? undefined : feedInput(process, input)
    const onAbort = (): void => {
      this.#aborted = true
      // A failure shows in wait(), which the run is waiting for.
      void this.#process?.kill().catch(() => undefined)
    }
    signal?.addEventListener('abort', onAbort, { once: true })
    if (signal?.aborted) onAbort()
    try {
      for (;;) {
        try {
          const status = await this.#follow(process, feed, onOutput)
          await process.detach().catch(() => undefined)
          return this.#result(process, status, signal)
        } catch (error) {
          if (!AnyplaceError.is(error, 'connection-lost')) throw error
          process = await this.#resume(process, feed, error)
          this.#process = process
          if (this.#aborted) void process.kill().catch(() => undefined)
        }
      }
    } catch (error) {
      // Nobody will look at the command any more, so it must not run on.
      if (!isConnectionTrouble(error)) await process.kill().catch(() => undefined)
      await process.detach().catch(() => undefined)
      throw error
    } finally {
      signal?.removeEventListener('abort', onAbort)
      feed?.stop()
    }
  }

  async #follow(process: Process, feed: InputFeed | undefined, onOutput: RunOptions['onOutput']): Promise<ExitStatus> {
    const output = Promise.all([
      this.#pump('stdout', process.stdout, onOutput),
      this.#pump('stderr', process.stderr, onOutput),
    ])
    // The readers are taken above, before wait() could decide that nobody reads.
    const ended = Promise.all([process.wait(), output]).then(([status]) => status)
    return feed === undefined ? ended : Promise.race([ended, feed.failed])
  }

  async #pump(stream: Stream, bytes: ReadableStream<Uint8Array>, onOutput: RunOptions['onOutput']): Promise<void> {
    const collector = this.#collected[stream]
    const reader = bytes.getReader()
    try {
      for (;;) {
        const { done, value } = await reader.read()
        if (done) return
        collector.push(value)
        await onOutput?.(stream, value)
      }
    } finally {
      reader.releaseLock()
    }
  }

  async #resume(process: Process, feed: InputFeed | undefined, lost: AnyplaceError): Promise<Process> {
    let last: unknown = lost
    for (const delayMs of RESUME_DELAYS_MS) {
      await sleep(delayMs)
      try {
        const fromOffset = this.#offsets()
        const found = await this.#session.attach(process.id, { fromOffset })
        if (feed === undefined || feed.isComplete) return found
        await found.kill().catch(() => undefined)
        await found.detach().catch(() => undefined)
        throw this.#unknown(process, 'how much of its stdin arrived is unknown, so it was killed', lost)
      } catch (error) {
        last = error
        if (AnyplaceError.is(error, 'sandbox-gone')) throw error
        if (!RETRYABLE.some((code) => AnyplaceError.is(error, code)) || isUnknown(error)) break
      }
    }
    throw isUnknown(last) ? last : this.#unknown(process, 'whether and how it ended is unknown', last)
  }

  #offsets(): Record<Stream, number> {
    return { stdout: this.#collected.stdout.totalBytes, stderr: this.#collected.stderr.totalBytes }
  }

  #unknown(process: Process, what: string, cause: unknown): AnyplaceError {
    const { stdout, stderr } = this.#offsets()
    return new AnyplaceError(
      'connection-lost',
      `The connection was lost while ${JSON.stringify(this.#argv[0] ?? '')} ran (process ${process.id}): ${what}; ` +
        `${stdout} bytes of its stdout and ${stderr} of its stderr arrived.`,
      {
        cause,
        hint: 'it may still run: attach to it by its process id',
        data: { processId: process.id, stdoutOffset: stdout, stderrOffset: stderr, [UNKNOWN]: true },
      },
    )
  }

  #result(process: Process, status: ExitStatus, signal: AbortSignal | undefined): RunResult {
    const stdoutBytes = this.#collected.stdout.bytes()
    const stderrBytes = this.#collected.stderr.bytes()
    // A command that ended by itself just before the kill keeps its own exit code.
    const stopped = this.#aborted && (status.signal !== null || status.exitCode === 130)
    const byDeadline = stopped && signal?.reason instanceof Error && signal.reason.name === 'TimeoutError'
    return {
      ...status,
      ...(stopped ? { exitCode: byDeadline ? 124 : 130, timedOut: byDeadline } : {}),
      stdout: utf8Lossy(stdoutBytes),
      stderr: utf8Lossy(stderrBytes),
      stdoutBytes,
      stderrBytes,
      truncated: this.#collected.stdout.truncated || this.#collected.stderr.truncated,
      processId: process.id,
    }
  }
}

/** Marks the error that ends a run after a lost link, so that it is not taken for one more attempt that failed. */
const UNKNOWN = 'outcomeUnknown'

function isUnknown(error: unknown): boolean {
  return AnyplaceError.is(error, 'connection-lost') && error.data?.[UNKNOWN] === true
}

function isConnectionTrouble(error: unknown): boolean {
  return AnyplaceError.is(error, 'connection-lost') || AnyplaceError.is(error, 'sandbox-gone')
}
