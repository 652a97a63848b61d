import { AnyplaceError } from '../spec/index.ts'
import type { CallOptions, SlotCommand, SlotResult } from '../spec/index.ts'
import { abortError } from '../kit/deadline.ts'
import type { Holding } from './holding.ts'
import type { Lease } from './lease.ts'
import type { PoolSandbox } from './pool-sandbox.ts'
import { failedResult, ranResult, textArgument, toolCommand } from './slot-tools.ts'
import type { ToolArguments, ToolResult } from './slot-tools.ts'

/** One call of a tool in a slot. */
export interface ExecuteRequest {
  readonly lease: Lease
  /** `bash`, `bash_stateful`, `read_file` or `write_file`. */
  readonly tool: string
  readonly args: ToolArguments
  /** From the command's own start; it is killed then. @default the profile's executionTimeoutMs */
  readonly timeoutMs?: number | undefined
}

export interface ExecuteBatchOptions extends CallOptions {
  /** For the whole batch: what runs then is killed, what has not begun fails with `timeout`. None by default. */
  readonly timeoutMs?: number | undefined
  /** Called as each call ends, in any order. */
  readonly onResult?: ((index: number, result: ToolResult) => void) | undefined
  /** Kept output per stream and call; the rest is dropped and `truncated` set. @default 1_048_576 */
  readonly maxOutputBytes?: number | undefined
}

/** What running calls needs of the pool. */
export interface BatchContext {
  readonly executionTimeoutMs: number
  /** @throws AnyplaceError why the lease does not hold */
  holding(lease: Lease): Holding
  began(holding: Holding): void
  finished(holding: Holding): void
}

const MAX_OUTPUT_BYTES = 1_048_576

interface Job {
  readonly index: number
  readonly holding: Holding
  /** Undefined for the stateful shell. */
  readonly command: SlotCommand | undefined
  readonly text: string
  readonly timeoutMs: number
}

/**
 * Runs calls side by side and gives their results in request order. Calls of one sandbox travel as one message; calls of one
 * slot run one after another. Each fails for itself, and nothing is ever run twice.
 */
export async function runBatch(
  context: BatchContext,
  requests: readonly ExecuteRequest[],
  options: ExecuteBatchOptions,
): Promise<ToolResult[]> {
  const results: ToolResult[] = []
  const settle = (index: number, result: ToolResult): void => {
    if (results[index] !== undefined) return
    results[index] = result
    options.onResult?.(index, result)
  }
  const deadlineAtMs = options.timeoutMs === undefined ? undefined : performance.now() + options.timeoutMs
  const bySlot = new Map<Holding, Job[]>()
  for (const [index, request] of requests.entries()) {
    try {
      const job = jobOf(context, index, request, options)
      const jobs = bySlot.get(job.holding)
      if (jobs === undefined) bySlot.set(job.holding, [job])
      else jobs.push(job)
    } catch (error) {
      settle(index, failedResult(request.lease.slotId, asFailure(error)))
    }
  }
  const frames = new Map<PoolSandbox, Job[]>()
  const runs: Promise<void>[] = []
  const run: Runner = { context, options, deadlineAtMs, settle }
  for (const [holding, jobs] of bySlot) {
    const isPlain = holding.tail === undefined && jobs.every(({ command }) => command !== undefined)
    if (isPlain) frames.set(holding.sandbox, [...(frames.get(holding.sandbox) ?? []), ...jobs])
    else runs.push(queued([holding], jobs, run, () => inTurn(jobs, run)))
  }
  for (const [sandbox, jobs] of frames) {
    const holdings = [...new Set(jobs.map(({ holding }) => holding))]
    runs.push(queued(holdings, jobs, run, () => asOneFrame(sandbox, jobs, run)))
  }
  await Promise.all(runs)
  return results
}

interface Runner {
  readonly context: BatchContext
  readonly options: ExecuteBatchOptions
  readonly deadlineAtMs: number | undefined
  settle(index: number, result: ToolResult): void
}

function jobOf(context: BatchContext, index: number, request: ExecuteRequest, options: ExecuteBatchOptions): Job {
  const { tool, args, timeoutMs = context.executionTimeoutMs } = request
  const holding = context.holding(request.lease)
  if (!(timeoutMs > 0)) {
    throw new AnyplaceError('invalid-argument', `timeoutMs must be above 0 (got ${timeoutMs}).`, { field: 'timeoutMs' })
  }
  if (tool === 'bash_stateful') {
    return { index, holding, command: undefined, text: textArgument(tool, args, 'command'), timeoutMs }
  }
  const maxOutputBytes = options.maxOutputBytes ?? MAX_OUTPUT_BYTES
  const command = toolCommand(holding.name, tool, args, { timeoutMs, maxOutputBytes })
  return { index, holding, command, text: tool, timeoutMs }
}

/** Runs work once what the slots were given before is finished; whatever fails becomes the result of its jobs. */
async function queued(
  holdings: readonly Holding[],
  jobs: readonly Job[],
  run: Runner,
  work: () => Promise<void>,
): Promise<void> {
  const before = holdings.flatMap(({ tail }) => tail ?? [])
  const done = (async () => {
    try {
      if (before.length > 0) await Promise.all(before)
      await recorded(holdings)
      await work()
    } catch (error) {
      const failure = asFailure(error)
      for (const { index, holding } of jobs) run.settle(index, failedResult(holding.lease.slotId, failure))
    }
  })()
  for (const holding of holdings) {
    holding.tail = done
    holding.outstanding++
    run.context.began(holding)
  }
  await done
  for (const holding of holdings) {
    if (holding.tail === done) holding.tail = undefined
    holding.outstanding--
    run.context.finished(holding)
  }
}

/** No command runs in a slot before its lease is on disk. */
async function recorded(holdings: readonly Holding[]): Promise<void> {
  const unwritten = holdings.filter(({ isRecorded }) => !isRecorded)
  if (unwritten.length === 0) return
  await Promise.all([...new Set(unwritten.map(({ sandbox }) => sandbox.claim))].map((claim) => claim.written()))
  for (const holding of unwritten) holding.isRecorded = true
}

async function asOneFrame(sandbox: PoolSandbox, jobs: readonly Job[], run: Runner): Promise<void> {
  const { signal } = run.options
  const timeoutMs = remaining(run)
  if (timeoutMs === 0) throw tooLate()
  const settleAt = (index: number, outcome: SlotResult): void => {
    const job = jobs[index]
    if (job !== undefined) run.settle(job.index, resultOf(job, outcome))
  }
  try {
    const outcomes = await sandbox.slots.batch(
      jobs.flatMap(({ command }) => command ?? []),
      { onResult: settleAt, ...(timeoutMs === undefined ? {} : { timeoutMs }), ...(signal ? { signal } : {}) },
    )
    for (const [index, outcome] of outcomes.entries()) settleAt(index, outcome)
  } catch (error) {
    // Those that had ended keep their results; of the others nothing is known but this.
    const failure = signal?.aborted ? abortError(signal) : asFailure(error)
    for (const { index, holding } of jobs) run.settle(index, failedResult(holding.lease.slotId, failure))
  }
}

async function inTurn(jobs: readonly Job[], run: Runner): Promise<void> {
  for (const job of jobs) {
    const { holding, command } = job
    const { ended } = holding.lease
    if (ended !== undefined) {
      run.settle(job.index, failedResult(holding.lease.slotId, ended))
    } else if (command === undefined) await inShell(job, run)
    else {
      try {
        await asOneFrame(holding.sandbox, [job], run)
      } catch (error) {
        run.settle(job.index, failedResult(holding.lease.slotId, asFailure(error)))
      }
    }
  }
}

async function inShell({ index, holding, text, timeoutMs }: Job, run: Runner): Promise<void> {
  const { slotId } = holding.lease
  try {
    const left = remaining(run)
    if (left === 0) throw tooLate()
    holding.shell ??= holding.sandbox.slots.shell(holding.name)
    const { signal, maxOutputBytes } = run.options
    const result = await holding.shell.run(text, {
      timeoutMs: Math.min(timeoutMs, left ?? Infinity),
      ...(signal ? { signal } : {}),
      ...(maxOutputBytes === undefined ? {} : { maxOutputBytes }),
    })
    run.settle(index, ranResult(slotId, 'bash_stateful', result))
  } catch (error) {
    run.settle(index, failedResult(slotId, asFailure(error)))
  }
}

function resultOf({ holding, text }: Job, outcome: SlotResult): ToolResult {
  const { slotId } = holding.lease
  // A lease that ended under its command: what the reset killed is not the command's own failure.
  const { ended } = holding.lease
  if (ended !== undefined && (outcome.error !== undefined || outcome.result.signal === 'SIGKILL')) {
    return failedResult(slotId, ended)
  }
  return outcome.error === undefined ? ranResult(slotId, text, outcome.result) : failedResult(slotId, outcome.error)
}

function tooLate(): AnyplaceError {
  return new AnyplaceError('timeout', 'The batch ran into its deadline before this call began.')
}

/** Milliseconds until the batch's deadline; undefined without one. */
function remaining(run: Runner): number | undefined {
  return run.deadlineAtMs === undefined ? undefined : Math.max(0, Math.ceil(run.deadlineAtMs - performance.now()))
}

function asFailure(error: unknown): AnyplaceError {
  if (AnyplaceError.is(error)) return error
  return new AnyplaceError('internal', error instanceof Error ? error.message : String(error), { cause: error })
}
