import { open } from '../src/index.ts'
import type { Sandbox } from '../src/index.ts'
import { IMAGE, runHost } from './baselines.ts'
import { latencies, latencyRow, machine, quantile, round, timed } from './measure.ts'
import type { Report, Row } from './measure.ts'

/** The rows of OpenModal's own table: Anyplace on Docker beside the docker command line doing the same. */
export async function benchOpenModal(): Promise<Report> {
  await using box = await open({ on: 'local/docker', image: IMAGE })
  const container = `anyplace-${box.name}`
  const cli = (argv: readonly string[]) => (): Promise<unknown> => runHost(['docker', 'exec', container, ...argv])
  const ours = (argv: readonly string[]) => (): Promise<unknown> => box.run(argv)
  const cases: readonly (readonly [string, () => Promise<unknown>, () => Promise<unknown>])[] = [
    ['exec echo', ours(['echo', 'hello']), cli(['echo', 'hello'])],
    ['exec bash', ours(['bash', '-c', 'true']), cli(['bash', '-c', 'true'])],
    ['exec + stdout', ours(['cat', '/etc/passwd']), cli(['cat', '/etc/passwd'])],
    ['exec python3', ours(['python3', '-c', 'print(1)']), cli(['python3', '-c', 'print(1)'])],
    ['file write+read', () => writeAndRead(box), () => writeAndReadByExec(container)],
    ['10 sequential exec', () => ten(ours(['echo', 'hello'])), () => ten(cli(['echo', 'hello']))],
    ['large stdout', ours(['seq', '1', '100000']), cli(['seq', '1', '100000'])],
  ]
  const rows: Row[] = []
  const ratios: Record<string, number> = {}
  const create: number[] = []
  for (let i = 0; i < 5; i++) {
    const { ms, value } = await timed(() => open({ on: 'local/docker', image: IMAGE }))
    create.push(ms)
    await value.close()
  }
  rows.push(latencyRow('create (warm): anyplace', create))
  for (const [name, mine, theirs] of cases) {
    const samples = await latencies(
      [
        { name: 'anyplace', once: mine, perTurn: 2 },
        { name: 'docker exec', once: theirs, perTurn: 2 },
      ],
      5,
    )
    for (const [who, values] of samples) rows.push(latencyRow(`${name}: ${who}`, values))
    const ratio = quantile(samples.get('docker exec') ?? [], 0.5) / quantile(samples.get('anyplace') ?? [], 0.5)
    ratios[name === '10 sequential exec' ? 'tenExecs' : camel(name)] = round(ratio)
  }
  return { bench: 'openmodal', machine, rows, ratios }
}

async function ten(once: () => Promise<unknown>): Promise<void> {
  for (let i = 0; i < 10; i++) await once()
}

async function writeAndRead(box: Sandbox): Promise<void> {
  await box.files.write('bench.txt', 'hello')
  if ((await box.files.readText('bench.txt')) !== 'hello') throw new Error('the file came back changed')
}

async function writeAndReadByExec(container: string): Promise<void> {
  await runHost(['docker', 'exec', container, 'sh', '-c', 'echo hello >/tmp/bench.txt'])
  await runHost(['docker', 'exec', container, 'cat', '/tmp/bench.txt'])
}

function camel(name: string): string {
  return name.replace(/[^a-zA-Z0-9]+(.)?/g, (_, letter: string | undefined) => letter?.toUpperCase() ?? '')
}
