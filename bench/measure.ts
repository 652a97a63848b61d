import { cpus, release, totalmem } from 'node:os'

/** One measured thing. Times in milliseconds. */
export interface Row {
  readonly name: string
  readonly p50Ms?: number
  readonly p95Ms?: number
  readonly samples?: number
  readonly opsPerSecond?: number
  readonly mbPerSecond?: number
  readonly note?: string
}

/** What every bench prints with --json. */
export interface Report {
  readonly bench: string
  readonly machine: string
  readonly rows: readonly Row[]
  readonly ratios: Readonly<Record<string, number>>
}

export const machine: string = `${cpus().length} x ${cpus()[0]?.model.trim() ?? 'unknown CPU'}, ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}, Node ${process.version}`

export function quantile(samples: readonly number[], q: number): number {
  const sorted = [...samples].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN
}

export function latencyRow(name: string, samples: readonly number[], extra: Partial<Row> = {}): Row {
  return {
    name,
    p50Ms: round(quantile(samples, 0.5)),
    p95Ms: round(quantile(samples, 0.95)),
    samples: samples.length,
    ...extra,
  }
}

export function round(value: number): number {
  return Number(value.toPrecision(4))
}

/** One thing to time, beside the others that it is compared with. */
export interface Contender {
  readonly name: string
  readonly once: () => Promise<unknown>
  /** Calls in each turn. */
  readonly perTurn: number
}

/**
 * Times the contenders in turns (A B C A B C …), so that a drift of a shared machine meets them all alike.
 * Each is warmed up first by two turns of its own, since what lives in this process runs slower until it is compiled.
 */
export async function latencies(contenders: readonly Contender[], turns: number): Promise<Map<string, number[]>> {
  const samples = new Map<string, number[]>(contenders.map(({ name }) => [name, []]))
  for (const { once, perTurn } of contenders) for (let i = 0; i < 2 * perTurn; i++) await once()
  for (let turn = 0; turn < turns; turn++) {
    for (const { name, once, perTurn } of contenders) {
      for (let i = 0; i < perTurn; i++) {
        const start = performance.now()
        await once()
        samples.get(name)?.push(performance.now() - start)
      }
    }
  }
  return samples
}

/**
 * Runs the works in an order that changes with the turn: what comes first may meet memory that the kernel has just given back.
 * None of them may remove files: ext4 without a journal takes no inode again within minutes of its removal, and looks at each of
 * those for every file it makes (`recently_deleted` in fs/ext4/ialloc.c): 2,000 files then take up to 2 s and not 60 ms.
 */
export async function inTurn(turn: number, works: readonly (() => Promise<void>)[]): Promise<void> {
  for (const index of works.keys()) await works[(index + turn) % works.length]?.()
}

/** Calls per second with `width` at once, the median of `turns` turns. */
export async function throughput(
  once: () => Promise<unknown>,
  width: number,
  calls: number,
  turns = 3,
): Promise<number> {
  const rates: number[] = []
  for (let turn = 0; turn < turns; turn++) {
    let left = calls
    const start = performance.now()
    await Promise.all(
      Array.from({ length: width }, async () => {
        while (left-- > 0) await once()
      }),
    )
    rates.push((calls / (performance.now() - start)) * 1000)
  }
  return quantile(rates, 0.5)
}

export async function timed<T>(work: () => Promise<T>): Promise<{ readonly ms: number; readonly value: T }> {
  const start = performance.now()
  const value = await work()
  return { ms: performance.now() - start, value }
}
