import { randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { open } from '../src/index.ts'
import { packTree, unpackTree } from '../src/kit/tar.ts'
import { connectDockerode, IMAGE, runHost } from './baselines.ts'
import { inTurn, machine, quantile, round, timed } from './measure.ts'
import type { Report, Row } from './measure.ts'

const SMALL = { count: 2000, bytes: 4096 }
const BIG_BYTES = 100e6
const TURNS = 9

/** 100 MB in one file and 2,000 small files, both ways: Anyplace, docker cp, and the Engine's archive calls. */
export async function benchFiles(): Promise<Report> {
  const directory = await mkdtemp(join(tmpdir(), 'anyplace-bench-'))
  try {
    return await measure(directory)
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

async function measure(directory: string): Promise<Report> {
  await mkdir(join(directory, 'small'))
  await mkdir(join(directory, 'big'))
  for (let i = 0; i < SMALL.count; i++) await writeFile(join(directory, 'small', `file-${i}`), randomBytes(SMALL.bytes))
  await writeFile(join(directory, 'big', 'file'), randomBytes(BIG_BYTES))
  await using box = await open({ on: 'local/docker', image: IMAGE })
  const container = `anyplace-${box.name}`
  const engine = (await connectDockerode()).getContainer(container)
  const rates = new Map<string, number[]>()
  let turn = 0
  for (; turn < TURNS; turn++) {
    for (const [what, bytes] of [
      ['small', SMALL.count * SMALL.bytes],
      ['big', BIG_BYTES],
    ] as const) {
      const source = join(directory, what)
      const note = async (name: string, work: () => Promise<unknown>): Promise<void> => {
        const { ms } = await timed(work)
        const key = `${what} ${name}`
        rates.set(key, [...(rates.get(key) ?? []), bytes / 1e6 / (ms / 1000)])
      }
      const back = (name: string): string => join(directory, `back-${what}-${name}-${turn}`)
      await box.run(['mkdir', '-p', '/tmp/cp', `/tmp/api/${what}-${turn}`], { check: true })
      await inTurn(turn, [
        () => note('up: anyplace', () => box.files.upload(source, `/tmp/ours/${what}-${turn}`)),
        () => note('up: docker cp', () => runHost(['docker', 'cp', source, `${container}:/tmp/cp/${what}-${turn}`])),
        () =>
          note('up: putArchive', () =>
            engine.putArchive(Readable.from(packTree(source, {}).chunks, { objectMode: false }), {
              path: `/tmp/api/${what}-${turn}`,
            }),
          ),
      ])
      await inTurn(turn, [
        () => note('down: anyplace', () => box.files.download(`/tmp/ours/${what}-${turn}`, back('ours'))),
        () =>
          note('down: docker cp', () => runHost(['docker', 'cp', `${container}:/tmp/cp/${what}-${turn}`, back('cp')])),
        () =>
          note('down: getArchive', async () =>
            unpackTree(
              (await engine.getArchive({ path: `/tmp/cp/${what}-${turn}` })) as AsyncIterable<Uint8Array>,
              back('api'),
              { asFile: false },
            ),
          ),
      ])
      const sample = what === 'small' ? 'file-7' : 'file'
      if (!(await readFile(join(back('ours'), sample))).equals(await readFile(join(source, sample)))) {
        throw new Error('a file came back changed')
      }
    }
  }
  const rate = (key: string): number => quantile(rates.get(key) ?? [], 0.5)
  const rows: Row[] = [...rates.keys()].map((name) => ({ name, mbPerSecond: round(rate(name)), samples: TURNS }))
  return {
    bench: 'files',
    machine,
    rows,
    ratios: {
      smallFilesUp: round(rate('small up: anyplace') / rate('small up: docker cp')),
      smallFilesDown: round(rate('small down: anyplace') / rate('small down: docker cp')),
      bigFileUp: round(rate('big up: anyplace') / rate('big up: docker cp')),
      bigFileDown: round(rate('big down: anyplace') / rate('big down: docker cp')),
      smallFilesUpEngine: round(rate('small up: anyplace') / rate('small up: putArchive')),
      smallFilesDownEngine: round(rate('small down: anyplace') / rate('small down: getArchive')),
    },
  }
}
