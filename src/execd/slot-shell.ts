import { randomBytes } from 'node:crypto'
import { AnyplaceError } from '../spec/index.ts'
import type { Argv, CallOptions, ExitStatus, Process, ShellResult, SlotShell, SpawnOptions } from '../spec/index.ts'
import { OutputCollector } from '../kit/collect.ts'
import { abortError, throwIfAborted } from '../kit/deadline.ts'
import { assertNoNul, utf8Lossy } from '../kit/text-bytes.ts'
import { MarkerScan } from './shell-marker.ts'

const KEPT_OUTPUT_BYTES = 1_048_576

/**
 * Reads pairs of marker and command, each ended by NUL, from a copy of stdin and runs the command in itself. After it, the
 * marker goes to both outputs, through copies that no redirection of the command's reaches; with the exit code and directory.
 */
const LOOP = `exec 60<&0 61>&1 62>&2 </dev/null
while IFS= builtin read -r -d '' -u 60 __anyplace_mark && IFS= builtin read -r -d '' -u 60 __anyplace_text; do
builtin eval "$__anyplace_text"
__anyplace_code=$?
builtin printf '\\n%s %d %s\\0' "$__anyplace_mark" "$__anyplace_code" "$PWD" >&61
builtin printf '\\n%s\\0' "$__anyplace_mark" >&62
done`

/** How a shell's bash is started. */
export type ShellSpawner = (argv: Argv, options: SpawnOptions) => Promise<Process>

/** A stateful bash. `spawn` starts it where it shall run. */
export function openShell(spawn: ShellSpawner): SlotShell {
  return new BashShell(spawn)
}

interface RunningShell {
  readonly process: Process
  readonly writer: WritableStreamDefaultWriter<Uint8Array>
  readonly stdout: MarkerScan
  readonly stderr: MarkerScan
  readonly exit: Promise<ExitStatus>
}

class BashShell implements SlotShell {
  readonly #spawn: ShellSpawner
  #running: RunningShell | undefined
  #last: Promise<unknown> = Promise.resolve()
  #isClosed = false

  constructor(spawn: ShellSpawner) {
    this.#spawn = spawn
  }

  run(
    text: string,
    options: CallOptions & {
      readonly timeoutMs?: number | undefined
      readonly maxOutputBytes?: number | undefined
    } = {},
  ): Promise<ShellResult> {
    const result = this.#last.then(() => this.#run(text, options))
    this.#last = result.catch(() => undefined)
    return result
  }

  async kill(): Promise<void> {
    const running = this.#running
    this.#running = undefined
    if (running !== undefined) await end(running.process)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true
    await this.kill()
  }

  async #run(
    text: string,
    options: CallOptions & { readonly timeoutMs?: number | undefined; readonly maxOutputBytes?: number | undefined },
  ): Promise<ShellResult> {
    const { signal, timeoutMs, maxOutputBytes = KEPT_OUTPUT_BYTES } = options
    throwIfAborted(signal)
    assertNoNul(text, 'text')
    if (timeoutMs !== undefined && !(timeoutMs > 0 && timeoutMs < Infinity)) {
      throw new AnyplaceError('invalid-argument', `timeoutMs must be above 0 (got ${timeoutMs}).`, {
        field: 'timeoutMs',
      })
    }
    if (this.#isClosed) throw new AnyplaceError('cancelled', 'The shell was closed.', { hint: 'open a new one' })
    const running = (this.#running ??= await this.#start(signal))
    const began = performance.now()
    const mark = randomBytes(16).toString('hex')
    const collectors = {
      stdout: new OutputCollector({ maxBytes: maxOutputBytes, keep: 'tail' }),
      stderr: new OutputCollector({ maxBytes: maxOutputBytes, keep: 'tail' }),
    }
    const marks = Promise.all([
      running.stdout.until(mark, collectors.stdout),
      running.stderr.until(mark, collectors.stderr),
    ])
    marks.catch(() => undefined)
    running.writer.write(Buffer.from(`${mark}\0${text}\0`, 'utf8')).catch(() => undefined)

    let reason: 'timeout' | 'cancel' | undefined
    const stop = (why: 'timeout' | 'cancel'): void => {
      reason ??= why
      end(running.process).catch(() => undefined)
    }
    const onAbort = (): void =>
      stop(signal !== undefined && abortError(signal).code === 'timeout' ? 'timeout' : 'cancel')
    const timer =
      timeoutMs === undefined ? undefined : setTimeout(() => stop('timeout'), Math.min(timeoutMs, 2 ** 31 - 1))
    signal?.addEventListener('abort', onAbort, { once: true })
    if (signal?.aborted) onAbort()
    try {
      const [said] = await marks
      const finished = said === undefined ? null : /^(\d+) ([^]*)$/.exec(said)
      // Without its last word the shell has ended: the command called exit, or it was killed.
      const exit = finished === null ? await running.exit : undefined
      if (exit !== undefined) this.#forget(running)
      const exitCode =
        exit === undefined
          ? Number(finished![1])
          : reason === 'timeout'
            ? 124
            : reason === 'cancel'
              ? 130
              : exit.exitCode
      const stdoutBytes = collectors.stdout.bytes()
      const stderrBytes = collectors.stderr.bytes()
      return {
        exitCode,
        signal: exit?.signal ?? null,
        timedOut: exit !== undefined && reason === 'timeout',
        oomKilled: exit?.oomKilled ?? false,
        durationMs: performance.now() - began,
        stdout: utf8Lossy(stdoutBytes),
        stderr: utf8Lossy(stderrBytes),
        stdoutBytes,
        stderrBytes,
        truncated: collectors.stdout.truncated || collectors.stderr.truncated,
        processId: running.process.id,
        cwd: finished?.[2],
        hasEnded: exit !== undefined,
      }
    } catch (error) {
      this.#forget(running)
      throw error
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
    }
  }

  async #start(signal: AbortSignal | undefined): Promise<RunningShell> {
    const process = await this.#spawn(['bash', '--noprofile', '--norc', '-c', LOOP], { stdin: 'pipe', signal })
    const stdout = new MarkerScan(process.stdout)
    const stderr = new MarkerScan(process.stderr)
    const exit = process.wait()
    exit.catch(() => undefined)
    const writer = process.stdin!.getWriter()
    writer.closed.catch(() => undefined)
    return { process, writer, stdout, stderr, exit }
  }

  #forget(running: RunningShell): void {
    if (this.#running === running) this.#running = undefined
    running.process.detach().catch(() => undefined)
  }
}

async function end(process: Process): Promise<void> {
  try {
    await process.kill()
  } catch (error) {
    if (!AnyplaceError.is(error, 'process-not-found')) throw error
  }
}
