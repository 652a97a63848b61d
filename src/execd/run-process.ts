import { CommandError } from '../spec/index.ts'
import type { Argv, ExitStatus, RunOptions, RunResult, Session, SpawnOptions } from '../spec/index.ts'
import { DEFAULTS } from '../spec/index.ts'
import { OutputCollector } from '../kit/collect.ts'
import { throwIfAborted } from '../kit/deadline.ts'
import { utf8Lossy } from '../kit/text-bytes.ts'

/** Takes output as it comes. The bytes are only lent: copy what is kept. */
export type OutputSink = (stream: 'stdout' | 'stderr', bytes: Uint8Array) => void

/** A process that only `run` knows of: its output goes to a sink, and nothing of it is kept after its end. */
export interface TransientProcess {
  readonly id: string
  readonly stdin?: WritableStream<Uint8Array> | undefined
  /** Resolves when it ended and the sink has all output. */
  finished(): Promise<ExitStatus>
  /** Kills the whole tree; the exit then reports 130. */
  cancel(): Promise<void>
}

/** The faster way to `run` that a session may have. Not part of its public face. */
export const startTransient: unique symbol = Symbol('anyplace.startTransient')

export interface TransientStarter {
  [startTransient](
    argv: Argv,
    options: SpawnOptions,
    sink: OutputSink,
    input: Uint8Array | undefined,
  ): Promise<TransientProcess>
}

/** What can start commands: a session, or a slot. */
export type Starter = Pick<Session, 'spawn'> & Partial<TransientStarter>

/**
 * Runs a command to its end and collects its output; the same on every session. Resolves whatever the exit code.
 *
 * `options.signal` aborted before the command runs rejects (`cancelled` or `timeout`); after that it kills the whole
 * tree and resolves with exit code 130 and the output so far.
 *
 * @throws CommandError with `check` when it did not end with 0
 */
export async function runProcess(session: Starter, argv: Argv, options: RunOptions = {}): Promise<RunResult> {
  const { input, check, maxOutputBytes = DEFAULTS.maxOutputBytes, keep = 'tail', onOutput, ...spawnOptions } = options
  const { signal } = options
  throwIfAborted(signal)
  const collectors = {
    stdout: new OutputCollector({ maxBytes: maxOutputBytes, keep }),
    stderr: new OutputCollector({ maxBytes: maxOutputBytes, keep }),
  }
  // Output may come before we hold the process.
  let stop = (): void => undefined
  let sinkError: { readonly error: unknown } | undefined
  const sink: OutputSink = (stream, bytes) => {
    collectors[stream].push(bytes)
    if (onOutput === undefined || sinkError !== undefined) return
    try {
      // A copy, since the caller may keep it and the memory behind it is larger.
      onOutput(stream, Uint8Array.prototype.slice.call(bytes))
    } catch (error) {
      sinkError = { error }
      stop()
    }
  }
  const whole = typeof input === 'string' ? Buffer.from(input, 'utf8') : input instanceof Uint8Array ? input : undefined
  const streamed = whole === undefined ? (input as AsyncIterable<Uint8Array> | undefined) : undefined
  const running = await start(
    session,
    argv,
    { ...spawnOptions, stdin: streamed === undefined ? 'none' : 'pipe' },
    sink,
    whole,
  )

  let wasCancelled = false
  const cancel = (): void => {
    wasCancelled = true
    // When even this fails the connection is gone, and `finished` says so.
    running.cancel().catch(() => undefined)
  }
  stop = cancel
  if (signal?.aborted || sinkError !== undefined) cancel()
  signal?.addEventListener('abort', cancel, { once: true })
  const feeding = streamed === undefined ? undefined : new Feeding(running, streamed, cancel)
  let exit: ExitStatus
  try {
    exit = await running.finished()
  } finally {
    signal?.removeEventListener('abort', cancel)
    feeding?.stop()
  }
  if (sinkError !== undefined) throw sinkError.error
  if (feeding?.failure !== undefined) throw feeding.failure.error

  const stdoutBytes = collectors.stdout.bytes()
  const stderrBytes = collectors.stderr.bytes()
  const result: RunResult = {
    // A session that cannot say why it killed reports the signal.
    exitCode: wasCancelled && exit.signal !== null && !exit.timedOut ? 130 : exit.exitCode,
    signal: exit.signal,
    timedOut: exit.timedOut,
    oomKilled: exit.oomKilled,
    durationMs: exit.durationMs,
    stdout: utf8Lossy(stdoutBytes),
    stderr: utf8Lossy(stderrBytes),
    stdoutBytes,
    stderrBytes,
    truncated: collectors.stdout.truncated || collectors.stderr.truncated,
    processId: running.id,
  }
  if (check === true && result.exitCode !== 0) throw new CommandError(argv, result)
  return result
}

/** Starts a command on any session, in the fastest way that it has. */
export function start(
  session: Starter,
  argv: Argv,
  options: SpawnOptions,
  sink: OutputSink,
  input: Uint8Array | undefined,
): Promise<TransientProcess> {
  return session[startTransient]?.(argv, options, sink, input) ?? startPlain(session, argv, options, sink, input)
}

/** For a session that has nothing better: spawn, read both outputs, wait. */
async function startPlain(
  session: Pick<Session, 'spawn'>,
  argv: Argv,
  options: SpawnOptions,
  sink: OutputSink,
  input: Uint8Array | undefined,
): Promise<TransientProcess> {
  const process = await session.spawn(argv, { ...options, stdin: input === undefined ? options.stdin : 'pipe' })
  const drain = async (name: 'stdout' | 'stderr'): Promise<void> => {
    for await (const bytes of process[name]) sink(name, bytes)
  }
  const output = Promise.all([drain('stdout'), drain('stderr')])
  output.catch(() => undefined)
  if (input !== undefined && process.stdin !== undefined) {
    const writer = process.stdin.getWriter()
    writer.closed.catch(() => undefined)
    // A command that ends without reading its input is no error.
    writer
      .write(input)
      .then(
        () => writer.close(),
        () => undefined,
      )
      .catch(() => undefined)
  }
  return {
    id: process.id,
    stdin: input === undefined ? process.stdin : undefined,
    async finished() {
      const [exit] = await Promise.all([process.wait(), output])
      return exit
    },
    cancel: () => process.kill(),
  }
}

/** Carries a source to stdin until the source, or the command, ends. */
class Feeding {
  /** The source failed: that is the caller's error, not the command's. */
  failure: { readonly error: unknown } | undefined
  #isStopped = false
  readonly #iterator: AsyncIterator<Uint8Array>

  constructor(process: TransientProcess, source: AsyncIterable<Uint8Array>, cancel: () => void) {
    this.#iterator = source[Symbol.asyncIterator]()
    void this.#run(process.stdin, cancel)
  }

  /** Lets go of the source, which may be in the middle of a wait. */
  stop(): void {
    if (this.#isStopped) return
    this.#isStopped = true
    // Not awaited: a generator answers only after its present step.
    try {
      void this.#iterator.return?.()?.catch(() => undefined)
    } catch {
      // A source that cannot even be closed is done with.
    }
  }

  async #run(stdin: WritableStream<Uint8Array> | undefined, cancel: () => void): Promise<void> {
    const writer = stdin?.getWriter()
    writer?.closed.catch(() => undefined)
    for (;;) {
      let step: IteratorResult<Uint8Array>
      try {
        step = await this.#iterator.next()
      } catch (error) {
        if (!this.#isStopped) {
          this.failure = { error }
          this.#isStopped = true
          cancel()
        }
        return
      }
      if (this.#isStopped) return
      try {
        if (step.done === true) {
          this.#isStopped = true
          await writer?.close()
          return
        }
        await writer?.write(step.value)
      } catch {
        // It takes no more input: it ended, or closed its stdin.
        return this.stop()
      }
    }
  }
}
