import { list, open } from '../src/index.ts'
import type { OpenOptions } from '../src/index.ts'
import { IMAGE, runHost } from './baselines.ts'
import { latencyRow, machine, quantile, round, timed } from './measure.ts'
import type { Report, Row } from './measure.ts'

const TURNS = 20

/** From nothing to the first command's result: Anyplace's engines beside `docker run`; one at a time and 20 at once. */
export async function benchCreate(): Promise<Report> {
  const samples = new Map<string, number[]>()
  const note = async (name: string, work: () => Promise<unknown>): Promise<void> => {
    const { ms } = await timed(work)
    samples.set(name, [...(samples.get(name) ?? []), ms])
  }
  const engines: readonly (readonly [string, OpenOptions])[] = [
    ['docker', { on: 'local/docker', image: IMAGE }],
    ['docker without network', { on: 'local/docker', image: IMAGE, network: false }],
    ['namespace', { on: 'local/namespace' }],
    ['direct', { on: 'local/direct' }],
  ]
  for (let turn = 0; turn < TURNS + 1; turn++) {
    if (turn === 1) samples.clear() // the first turn warms caches
    for (const [name, options] of engines) {
      let box: Awaited<ReturnType<typeof open>> | undefined
      await note(`${name}: open to first result`, async () => {
        box = await open(options)
        await box.run(['sh', '-c', 'true'], { check: true })
      })
      await note(`${name}: close`, async () => box?.close())
    }
    await note('docker run --rm', () => runHost(['docker', 'run', '--rm', IMAGE, 'sh', '-c', 'true']))
    await note('docker run --rm --network none', () =>
      runHost(['docker', 'run', '--rm', '--network', 'none', IMAGE, 'sh', '-c', 'true']),
    )
  }
  const rows: Row[] = [...samples].map(([name, values]) => latencyRow(name, values))
  for (const [name, options] of engines) {
    const opened = await timed(() => Promise.all(Array.from({ length: 20 }, () => open(options))))
    await Promise.all(opened.value.map((box) => box.run(['true'], { check: true })))
    const ids = new Set(opened.value.map((box) => box.id))
    const closed = await timed(() => Promise.all(opened.value.map((box) => box.close())))
    let left = 0
    for await (const info of list({ on: options.on })) if (ids.has(info.id)) left++
    if (left > 0) throw new Error(`${left} of 20 ${name} sandboxes were left over`)
    rows.push({
      name: `${name}: 20 at once, open`,
      p50Ms: round(opened.ms),
      note: 'all 20; nothing left over after close',
    })
    rows.push({ name: `${name}: 20 at once, close`, p50Ms: round(closed.ms) })
  }
  const p50 = (name: string): number => quantile(samples.get(name) ?? [], 0.5)
  return {
    bench: 'create',
    machine,
    rows,
    ratios: {
      dockerRun: round(p50('docker: open to first result') / p50('docker run --rm')),
      dockerRunNetworkNone: round(
        p50('docker without network: open to first result') / p50('docker run --rm --network none'),
      ),
      namespaceMs: round(p50('namespace: open to first result')),
      directMs: round(p50('direct: open to first result')),
    },
  }
}
