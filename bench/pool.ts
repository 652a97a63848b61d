import { cpus } from 'node:os'
import { attach, createPool } from '../src/index.ts'
import type { ProfileInput } from '../src/index.ts'
import { IMAGE } from './baselines.ts'
import { latencyRow, machine, quantile, round } from './measure.ts'
import type { Report, Row } from './measure.ts'
import {
  acquireDuringColdStart,
  acquireTimes,
  batchRate,
  bytesPerLease,
  resetTimes,
  SHORT_COMMAND,
  sleepBatch,
  thousandWaiters,
} from './pool/measure-pool.ts'
import { containerPerCommandRate, ReferencePool } from './pool/reference.ts'
import { spawnFloor } from './pool/spawn-floor.ts'
import type { SpawnFloor } from './pool/spawn-floor.ts'

const SANDBOXES = 5
const SLOTS_EACH = 10
const SLOTS = SANDBOXES * SLOTS_EACH
const COMMANDS = 5000
const REFERENCE_COMMANDS = 150

interface Found {
  readonly acquireP99Ms: number
  readonly sleepBatchMs: number
  readonly commandsPerSecond: number
  readonly floorPerSecond: number
  readonly resetP50Ms: number
  readonly acquireDuringColdStart: number
  readonly bytesPerLease: number
}

/** 50 slots in 5 sandboxes on docker and on the namespace engine, beside the reference over `docker exec` and the kernel itself. */
export async function benchPool(): Promise<Report> {
  const rows: Row[] = []
  const floor = await spawnFloor()
  const reference = await ReferencePool.start(SANDBOXES, SLOTS_EACH)
  let referenceRate: number
  try {
    await reference.rate(SHORT_COMMAND, 20)
    referenceRate = await reference.rate(SHORT_COMMAND, REFERENCE_COMMANDS)
  } finally {
    await reference.stop()
  }
  rows.push({ name: 'reference over docker exec, 50 slots', opsPerSecond: round(referenceRate) })
  const containers = await containerPerCommandRate(SHORT_COMMAND, 16, cpus().length)
  rows.push({ name: 'one container per command', opsPerSecond: round(containers) })
  const found = {
    docker: await measureEngine('docker', { on: 'local/docker', image: IMAGE }, floor, rows),
    namespace: await measureEngine('namespace', { on: 'local/namespace' }, floor, rows),
  }
  const each = (pick: (one: Found) => number): number[] => [pick(found.docker), pick(found.namespace)]
  const most = (pick: (one: Found) => number): number => round(Math.max(...each(pick)))
  const least = (pick: (one: Found) => number): number => round(Math.min(...each(pick)))
  return {
    bench: 'pool',
    machine,
    rows,
    ratios: {
      // Of the two engines the worse one.
      acquireP99Ms: most((one) => one.acquireP99Ms),
      sleepBatchMs: most((one) => one.sleepBatchMs),
      baselineThroughput: least((one) => one.commandsPerSecond / referenceRate),
      floorShare: least((one) => one.commandsPerSecond / one.floorPerSecond),
      resetP50Ms: most((one) => one.resetP50Ms),
      acquireDuringColdStart: most((one) => one.acquireDuringColdStart),
      bytesPerLease: most((one) => one.bytesPerLease),
      ...Object.fromEntries(
        Object.entries(found).flatMap(([engine, one]) => [
          [`${engine}BaselineThroughput`, round(one.commandsPerSecond / referenceRate)],
          [`${engine}FloorShare`, round(one.commandsPerSecond / one.floorPerSecond)],
          [`${engine}ResetP50Ms`, round(one.resetP50Ms)],
          [`${engine}SleepBatchMs`, round(one.sleepBatchMs)],
          [`${engine}AcquireP99Ms`, round(one.acquireP99Ms)],
        ]),
      ),
    },
  }
}

async function measureEngine(name: string, place: ProfileInput, floor: SpawnFloor, rows: Row[]): Promise<Found> {
  const profile: ProfileInput = {
    ...place,
    appName: `bench-${process.pid}`,
    cpu: 0.1,
    memoryMiB: 128,
    slotsPerSandbox: SLOTS_EACH,
    minSandboxes: SANDBOXES,
    maxSandboxes: SANDBOXES,
    createPerSecond: 50,
    executionTimeoutMs: 600_000,
  }
  const pool = await createPool({ profile })
  try {
    const started = performance.now()
    await pool.start()
    rows.push({
      name: `${name}: pool of ${SLOTS} slots in ${SANDBOXES} sandboxes, started`,
      p50Ms: round(performance.now() - started),
    })
    const acquires = await acquireTimes(pool, SLOTS)
    const acquireP99Ms = quantile(acquires, 0.99)
    rows.push(latencyRow(`${name}: acquire a free slot`, acquires, { note: `p99 ${round(acquireP99Ms)} ms` }))
    const sleeps = [await sleepBatch(pool, SLOTS), await sleepBatch(pool, SLOTS), await sleepBatch(pool, SLOTS)]
    const sleepBatchMs = quantile(sleeps, 0.5)
    rows.push(latencyRow(`${name}: ${SLOTS} x sleep 1 as one batch`, sleeps))
    const [sandbox] = pool.status().details
    const box = await attach(sandbox?.name ?? '', place.on === undefined ? {} : { on: place.on })
    const [rates, floors]: [number[], number[]] = [[], []]
    try {
      // In turns, so that a drift of a shared machine meets both alike.
      for (let turn = 0; turn < 3; turn++) {
        rates.push(await batchRate(pool, SLOTS, COMMANDS))
        floors.push(await floor.measure(box, SHORT_COMMAND, COMMANDS))
      }
    } finally {
      await box.detach()
    }
    const [commandsPerSecond, floorPerSecond] = [quantile(rates, 0.5), quantile(floors, 0.5)]
    rows.push({ name: `${name}: ${COMMANDS} short commands, one batch`, opsPerSecond: round(commandsPerSecond) })
    rows.push({
      name: `${name}: floor, posix_spawn in ${floor.kind} in the same sandbox, all cores`,
      opsPerSecond: round(floorPerSecond),
    })
    const resets = await resetTimes(pool, 15)
    rows.push(latencyRow(`${name}: release with 1,000 files and 20 processes`, resets))
    const { alone, during } = await acquireDuringColdStart(pool, { ...profile, maxSandboxes: 1 }, 4)
    rows.push(latencyRow(`${name}: acquire alone`, alone), latencyRow(`${name}: acquire during a cold start`, during))
    const bytes = await bytesPerLease(pool, SLOTS)
    const waiters = await thousandWaiters(pool)
    if (!waiters.inOrder) throw new Error('the waiters were not served in order')
    rows.push({
      name: `${name}: 1,000 waiters for ${SLOTS} slots, each cleaned`,
      p50Ms: round(waiters.ms),
      note: 'in order',
    })
    return {
      acquireP99Ms,
      sleepBatchMs,
      commandsPerSecond,
      floorPerSecond,
      resetP50Ms: quantile(resets, 0.5),
      acquireDuringColdStart: quantile(during, 0.5) / quantile(alone, 0.5),
      bytesPerLease: bytes,
    }
  } finally {
    await pool.stop()
  }
}
