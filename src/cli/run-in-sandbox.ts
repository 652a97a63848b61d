import type { ExitStatus, Process, SpawnOptions } from '../spec/index.ts'
import type { CliSandbox } from './api.ts'
import type { CliIo } from './cli-io.ts'
import { EXIT_CANCELLED } from './exit-codes.ts'
import { feedStdin } from './feed-stdin.ts'
import { bytesField } from './json-bytes.ts'
import { OutputFollower } from './output-follower.ts'
import { passThrough } from './output-sink.ts'
import { formatDuration } from './parse-duration.ts'
import type { Reporter } from './reporter.ts'
import { LocalTerminal } from './terminal.ts'

export interface RunRequest {
  readonly argv: readonly string[]
  readonly spawn: Pick<SpawnOptions, 'cwd' | 'env' | 'user' | 'timeoutMs'>
  readonly interactive: boolean
  readonly tty: boolean
}

/** Runs a command to its end with its output on ours, and gives the exit code to end with. */
export async function runInSandbox(
  box: CliSandbox,
  request: RunRequest,
  io: CliIo,
  reporter: Reporter,
): Promise<number> {
  if (request.tty) return runOnTerminal(box, request, io, reporter)
  return reporter.json ? runForJson(box, request, io, reporter) : runStreaming(box, request, io, reporter)
}

async function runForJson(box: CliSandbox, request: RunRequest, io: CliIo, reporter: Reporter): Promise<number> {
  const result = await box.run(request.argv, {
    ...request.spawn,
    ...(request.interactive ? { input: io.stdin } : {}),
    signal: io.signal,
  })
  reporter.clearProgress()
  await reporter.event({
    ...exitFields(result),
    ...bytesField('stdout', result.stdoutBytes),
    ...bytesField('stderr', result.stderrBytes),
    truncated: result.truncated,
    sandbox: box.name,
    processId: result.processId,
  })
  return result.exitCode
}

async function runStreaming(box: CliSandbox, request: RunRequest, io: CliIo, reporter: Reporter): Promise<number> {
  const process = await box.spawn(request.argv, {
    ...request.spawn,
    stdin: request.interactive ? 'pipe' : 'none',
    signal: io.signal,
  })
  reporter.clearProgress()
  const status = await untilExit(process, io, async () => {
    const follower = new OutputFollower(process, passThrough(io))
    const stopFeeding = request.interactive ? feedStdin(process, io.stdin) : undefined
    try {
      const [ended] = await Promise.all([process.wait(), follower.done])
      return ended
    } finally {
      stopFeeding?.()
      await follower.stop()
    }
  })
  remark(status, request, reporter)
  return status.exitCode
}

async function runOnTerminal(box: CliSandbox, request: RunRequest, io: CliIo, reporter: Reporter): Promise<number> {
  const terminal = new LocalTerminal(io, reporter.json)
  const process = await box.spawn(request.argv, {
    ...request.spawn,
    env: { ...terminal.env, ...request.spawn.env },
    pty: terminal.size,
    signal: io.signal,
  })
  reporter.clearProgress()
  const status = await untilExit(process, io, () => terminal.lend(process, () => process.wait()))
  if (reporter.json) await reporter.event({ ...exitFields(status), sandbox: box.name, processId: process.id })
  remark(status, request, reporter)
  return status.exitCode
}

/** The whole tree is killed when we are cancelled and when our side fails; the exit code of a cancel is 130. */
async function untilExit(process: Process, io: CliIo, follow: () => Promise<ExitStatus>): Promise<ExitStatus> {
  const kill = (): void => void process.kill().catch(() => undefined)
  io.signal.addEventListener('abort', kill, { once: true })
  if (io.signal.aborted) kill()
  try {
    const status = await follow()
    const wasKilled = io.signal.aborted && (status.signal !== null || status.exitCode === EXIT_CANCELLED)
    return wasKilled ? { ...status, exitCode: EXIT_CANCELLED } : status
  } catch (error) {
    await process.kill().catch(() => undefined)
    throw error
  } finally {
    io.signal.removeEventListener('abort', kill)
    await process.detach().catch(() => undefined)
  }
}

/** How a command ended, as JSON. */
export function exitFields(status: ExitStatus): object {
  const { exitCode, signal, timedOut, oomKilled, durationMs } = status
  return { source: 'command', exitCode, signal, timedOut, oomKilled, durationMs }
}

/** An exit code of 124 or 137 alone does not tell why. */
function remark(status: ExitStatus, request: RunRequest, reporter: Reporter): void {
  const { timeoutMs } = request.spawn
  if (status.timedOut) {
    reporter.note(`the command was killed after its --timeout of ${formatDuration(timeoutMs ?? status.durationMs)}`)
  } else if (status.oomKilled) reporter.note('the command was killed because the memory was used up')
}
