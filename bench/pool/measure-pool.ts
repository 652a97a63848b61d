import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { createPool } from '../../src/index.ts'
import type { Lease, Pool, ProfileInput } from '../../src/index.ts'
import { quantile } from '../measure.ts'

/** A command that is as short as they get. */
export const SHORT_COMMAND = 'echo hello'
const ROUNDS = 8

setFlagsFromString('--expose_gc')
const collectGarbage = runInNewContext('gc') as () => void

export function acquireAll(pool: Pool, count: number): Promise<readonly Lease[]> {
  return Promise.all(Array.from({ length: count }, (_, index) => pool.acquire(`trajectory-${index}`)))
}

export async function releaseAll(pool: Pool, leases: readonly Lease[]): Promise<void> {
  await Promise.all(leases.map((lease) => pool.release(lease)))
}

/** Milliseconds of each acquire of a free slot, one after another. The first round warms up and does not count. */
export async function acquireTimes(pool: Pool, slots: number): Promise<number[]> {
  const times: number[] = []
  for (let round = 0; round <= ROUNDS; round++) {
    const leases: Lease[] = []
    for (let index = 0; index < slots; index++) {
      const started = performance.now()
      leases.push(await pool.acquire())
      if (round > 0) times.push(performance.now() - started)
    }
    await releaseAll(pool, leases)
  }
  return times
}

/** Milliseconds until the slowest of `sleep 1` in every slot has ended. */
export async function sleepBatch(pool: Pool, slots: number): Promise<number> {
  const leases = await acquireAll(pool, slots)
  try {
    const started = performance.now()
    const results = await pool.executeBatch(
      leases.map((lease) => ({ lease, tool: 'bash', args: { command: 'sleep 1' } })),
    )
    const ms = performance.now() - started
    if (!results.every(({ success }) => success)) throw new Error('a sleep failed')
    return ms
  } finally {
    await releaseAll(pool, leases)
  }
}

/** Short commands per second over all slots, given as one batch. */
export async function batchRate(pool: Pool, slots: number, count: number): Promise<number> {
  const leases = await acquireAll(pool, slots)
  try {
    const requests = Array.from({ length: count }, (_, index) => ({
      lease: leases[index % slots] as Lease,
      tool: 'bash',
      args: { command: SHORT_COMMAND },
    }))
    const started = performance.now()
    const results = await pool.executeBatch(requests)
    const ms = performance.now() - started
    const wrong = results.find(({ output }) => output !== 'hello\n')
    if (wrong !== undefined) throw new Error(`a command failed: ${wrong.error}`)
    return (count / ms) * 1000
  } finally {
    await releaseAll(pool, leases)
  }
}

/** Milliseconds of each release of a slot with 1,000 files and 20 processes that were left running, verified. */
export async function resetTimes(pool: Pool, samples: number): Promise<number[]> {
  const times: number[] = []
  const litter =
    'for d in $(seq 10); do mkdir -p "d$d/.x"; for f in $(seq 100); do echo data >"d$d/.x/f$f"; done; done; ' +
    'for p in $(seq 20); do setsid sleep 600 >/dev/null 2>&1 & done'
  for (let sample = 0; sample < samples; sample++) {
    const lease = await pool.acquire()
    const made = await pool.execute(lease, 'bash', { command: litter })
    if (!made.success) throw new Error(`could not litter: ${made.error} ${made.output}`)
    const started = performance.now()
    const report = await pool.release(lease)
    times.push(performance.now() - started)
    if (report?.isClean !== true || report.killedProcesses < 20) throw new Error(`not clean: ${JSON.stringify(report)}`)
  }
  return times
}

/** Milliseconds of acquires while another pool opens its first sandbox, and while none does, in turns. */
export async function acquireDuringColdStart(
  pool: Pool,
  profile: ProfileInput,
  turns: number,
): Promise<{ readonly alone: number[]; readonly during: number[] }> {
  const [alone, during]: [number[], number[]] = [[], []]
  for (let turn = 0; turn < turns; turn++) {
    const cold = await createPool({ profile: { ...profile, appName: `bench-cold-${turn}`, minSandboxes: 1 } })
    let isStarting = true
    const starting = cold.start().finally(() => (isStarting = false))
    const began = performance.now()
    while (isStarting) during.push(await acquireOnce(pool))
    await starting
    const tookMs = performance.now() - began
    await cold.stop()
    for (const end = performance.now() + tookMs; performance.now() < end;) alone.push(await acquireOnce(pool))
  }
  return { alone, during }
}

async function acquireOnce(pool: Pool): Promise<number> {
  const started = performance.now()
  const lease = await pool.acquire()
  const ms = performance.now() - started
  await pool.release(lease)
  return ms
}

/** Bytes of our heap that one lease takes; the median of several rounds, since other things come and go meanwhile. */
export async function bytesPerLease(pool: Pool, slots: number): Promise<number> {
  const found: number[] = []
  for (let round = 0; round < 7; round++) found.push((await heapOfLeases(pool, slots)) / slots)
  return quantile(found.slice(1), 0.5)
}

/** A function of its own, so that nothing of the round before is held while the next one is measured. */
async function heapOfLeases(pool: Pool, slots: number): Promise<number> {
  const before = await settledHeap()
  const leases = await acquireAll(pool, slots)
  const after = await settledHeap()
  await releaseAll(pool, leases)
  return after - before
}

async function settledHeap(): Promise<number> {
  await new Promise((resolve) => setTimeout(resolve, 50))
  collectGarbage()
  collectGarbage()
  return process.memoryUsage().heapUsed
}

/** Whether 1,000 waiters got the slots in the order in which they came, and how long it took altogether. */
export async function thousandWaiters(pool: Pool): Promise<{ readonly ms: number; readonly inOrder: boolean }> {
  const served: number[] = []
  const started = performance.now()
  await Promise.all(
    Array.from({ length: 1000 }, async (_, index) => {
      const lease = await pool.acquire(String(index), { timeoutMs: 600_000 })
      served.push(index)
      await pool.release(lease)
    }),
  )
  return { ms: performance.now() - started, inOrder: served.every((index, at) => index === at) }
}
