import { createHash } from 'node:crypto'
import { spawn } from 'node:child_process'
import { open } from '../src/index.ts'
import type { Sandbox } from '../src/index.ts'
import { IMAGE } from './baselines.ts'
import { machine, round, timed } from './measure.ts'
import type { Report, Row } from './measure.ts'

const GIB = 'yes "the quick brown fox jumps over the lazy dog" | head -c 1073741824'
const LINES = 'seq 1 2000000'

/** 2,000,000 lines and 1 GiB to an attached reader, one that stalls for 10 s too; bytes proven by sha256, memory watched. */
export async function benchStream(): Promise<Report> {
  const rows: Row[] = []
  const ratios: Record<string, number> = {}
  await using box = await open({ on: 'local/docker', image: IMAGE })
  for (const [key, name, script] of [
    ['lines', '2,000,000 lines', LINES],
    ['gib', '1 GiB', GIB],
  ] as const) {
    const expected = await timed(() => digest(['sh', '-c', script]))
    const dockerExec = await timed(() => digest(['docker', 'exec', `anyplace-${box.name}`, 'sh', '-c', script]))
    for (const stallMs of [0, 10_000]) {
      const memory = await watchMemory(box)
      const ours = await timed(() => streamed(box, script, stallMs))
      const extraMiB = await memory.stop()
      if (ours.value.sha256 !== expected.value.sha256) throw new Error(`${name}: the bytes differ`)
      const label = stallMs > 0 ? `${name}, a reader that stalls 10 s` : name
      const ms = ours.ms - stallMs
      rows.push({
        name: `${label}: anyplace`,
        p50Ms: round(ours.ms),
        mbPerSecond: round(ours.value.bytes / 1e3 / ms),
        note: `sha256 equal; client and daemon ${round(extraMiB)} MiB over idle`,
      })
      ratios[`${key}${stallMs > 0 ? 'Stalled' : ''}ExtraMiB`] = round(extraMiB)
      if (stallMs === 0) ratios[`${key}DockerExec`] = round(dockerExec.ms / ours.ms)
    }
    rows.push({
      name: `${name}: docker exec`,
      p50Ms: round(dockerExec.ms),
      mbPerSecond: round(dockerExec.value.bytes / 1e3 / dockerExec.ms),
    })
    rows.push({
      name: `${name}: pipe on the host`,
      p50Ms: round(expected.ms),
      mbPerSecond: round(expected.value.bytes / 1e3 / expected.ms),
    })
  }
  return { bench: 'stream', machine, rows, ratios }
}

interface Digest {
  readonly sha256: string
  readonly bytes: number
}

async function streamed(box: Sandbox, script: string, stallMs: number): Promise<Digest> {
  await using job = await box.spawn(['sh', '-c', script])
  const hash = createHash('sha256')
  let bytes = 0
  for await (const chunk of job.stdout) {
    if (bytes === 0 && stallMs > 0) await new Promise((done) => setTimeout(done, stallMs))
    hash.update(chunk)
    bytes += chunk.length
  }
  const { exitCode } = await job.wait()
  if (exitCode !== 0) throw new Error(`the command ended with ${exitCode}`)
  return { sha256: hash.digest('hex'), bytes }
}

function digest(argv: readonly [string, ...string[]]): Promise<Digest> {
  return new Promise((resolve, reject) => {
    const child = spawn(argv[0], argv.slice(1), { stdio: ['ignore', 'pipe', 'inherit'] })
    const hash = createHash('sha256')
    let bytes = 0
    child.stdout.on('data', (chunk: Buffer) => {
      hash.update(chunk)
      bytes += chunk.length
    })
    child.on('error', reject)
    child.on('close', () => resolve({ sha256: hash.digest('hex'), bytes }))
  })
}

/** The highest memory of this process and the daemon together, over what they had before. */
async function watchMemory(box: Sandbox): Promise<{ stop(): Promise<number> }> {
  globalThis.gc?.()
  const sample = async (): Promise<number> => process.memoryUsage().rss + ((await box.stats()).daemonMemoryBytes ?? 0)
  const idle = await sample()
  let highest = idle
  let going = true
  const loop = (async () => {
    while (going) {
      highest = Math.max(highest, await sample())
      await new Promise((done) => setTimeout(done, 100))
    }
  })()
  return {
    async stop() {
      going = false
      await loop
      return (highest - idle) / 2 ** 20
    },
  }
}
