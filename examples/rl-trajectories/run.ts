// 200 trajectories of a small reinforcement learning loop: each writes Python programs into a slot, tests them there and learns.
//   npx tsx examples/rl-trajectories/run.ts [trajectories]
import { AnyplaceError, createPool } from 'anyplace'
import type { Lease, Pool } from 'anyplace'
import { Policy } from './policy.ts'
import { fill, TASKS, testProgram } from './tasks.ts'
import type { Task } from './tasks.ts'

const ATTEMPTS = 3
const TRAJECTORIES = Number(process.argv[2] ?? 200)

/** What became of one trajectory. */
interface Outcome {
  readonly task: string
  readonly rewards: readonly number[]
  readonly solved: boolean
  /** Why it counts for nothing: a sandbox that died says nothing about the policy. */
  readonly masked?: string
}

// #region pool
async function newPool(): Promise<Pool> {
  const on = process.env['ANYPLACE_ON'] || 'local/namespace'
  return createPool({
    profile: {
      on,
      appName: `rl-${process.pid}`,
      cpu: 0.1,
      memoryMiB: 256,
      slotsPerSandbox: 10,
      minSandboxes: 1,
      maxSandboxes: 3,
      executionTimeoutMs: 5000,
      acquireTimeoutMs: 300_000,
      ...(on.endsWith('docker') || on.endsWith('podman') ? { image: 'python:3.12-slim' } : {}),
    },
  })
}
// #endregion

// #region trajectory
async function attempt(pool: Pool, lease: Lease, task: Task, program: string): Promise<number> {
  const [wrote, , tested] = await pool.executeBatch([
    { lease, tool: 'write_file', args: { path: 'solution.py', content: program } },
    { lease, tool: 'write_file', args: { path: 'test.py', content: testProgram(task) } },
    { lease, tool: 'bash', args: { command: 'python3 test.py' } },
  ])
  if (wrote?.success !== true) throw wrote?.failure ?? new Error('nothing was written')
  // Not a wrong program but a sandbox that died: whoever trains masks it.
  if (tested?.metadata.returncode === undefined) throw tested?.failure ?? new Error('nothing was tested')
  const passed = /^passed (\d+)$/m.exec(tested.output)?.[1] ?? '0'
  return Number(passed) / task.tests.length
}

async function trajectory(pool: Pool, policy: Policy, index: number): Promise<Outcome> {
  const task = TASKS[index % TASKS.length] as Task
  const rewards: number[] = []
  try {
    await using lease = await pool.acquire(`trajectory-${index}`)
    while (rewards.length < ATTEMPTS && rewards.at(-1) !== 1) {
      const choice = policy.pick(task)
      const reward = await attempt(pool, lease, task, fill(task, choice.picks))
      policy.learn(choice, reward)
      rewards.push(reward)
    }
    return { task: task.name, rewards, solved: rewards.at(-1) === 1 }
  } catch (error) {
    if (!AnyplaceError.is(error)) throw error
    return { task: task.name, rewards, solved: false, masked: error.code }
  }
}
// #endregion

function showProgress(pool: Pool, outcomes: readonly Outcome[], startedMs: number): void {
  const { heldSlots, totalSlots, waiting, sandboxes } = pool.status()
  const recent = outcomes.slice(-40)
  const solved = recent.filter((outcome) => outcome.solved).length / Math.max(1, recent.length)
  const width = 24
  const filled = Math.round((outcomes.length / TRAJECTORIES) * width)
  const line =
    `[${'#'.repeat(filled)}${'.'.repeat(width - filled)}] ${outcomes.length}/${TRAJECTORIES}  ` +
    `${heldSlots}/${totalSlots} slots in ${sandboxes} sandboxes, ${waiting} waiting  ` +
    `solved lately ${Math.round(solved * 100)} %  ${Math.round((performance.now() - startedMs) / 1000)} s`
  process.stderr.write(`\r\u001B[K${line.slice(0, (process.stderr.columns ?? 120) - 1)}`)
}

function summary(outcomes: readonly Outcome[], seconds: number): string {
  const runs = outcomes.reduce((sum, { rewards }) => sum + rewards.length, 0)
  const share = (part: readonly Outcome[]): string =>
    `${Math.round((part.filter(({ rewards }) => rewards[0] === 1).length / Math.max(1, part.length)) * 100)} %`
  const quarter = Math.ceil(outcomes.length / 4)
  const quarters = [0, 1, 2, 3].map((at) => share(outcomes.slice(at * quarter, (at + 1) * quarter)))
  const tasks = TASKS.map(({ name }) => {
    const own = outcomes.filter(({ task }) => task === name)
    return `  ${name.padEnd(14)} ${String(own.filter(({ solved }) => solved).length).padStart(3)} of ${own.length} solved`
  })
  const masked = outcomes.filter((outcome) => outcome.masked !== undefined).length
  return [
    `${outcomes.length} trajectories, ${runs} programs written and tested in ${seconds.toFixed(1)} s (${(runs / seconds).toFixed(0)} a second)`,
    ...tasks,
    `right at the first attempt, by quarters of the run: ${quarters.join(', ')}`,
    `masked because of the place, not of the program: ${masked}`,
    '',
  ].join('\n')
}

try {
  await using pool = await newPool()
  const policy = new Policy(7)
  const outcomes: Outcome[] = []
  const startedMs = performance.now()
  const timer = process.stderr.isTTY ? setInterval(() => showProgress(pool, outcomes, startedMs), 200) : undefined
  try {
    await Promise.all(
      Array.from({ length: TRAJECTORIES }, async (_, index) => {
        outcomes.push(await trajectory(pool, policy, index))
      }),
    )
  } finally {
    clearInterval(timer)
    if (timer !== undefined) process.stderr.write('\r\u001B[K')
  }
  process.stdout.write(summary(outcomes, (performance.now() - startedMs) / 1000))
} catch (error) {
  if (!AnyplaceError.is(error)) throw error
  process.stderr.write(`${error.code}: ${error.message}\n${error.hint ? `  hint: ${error.hint}\n` : ''}`)
  process.exitCode = 1
}
