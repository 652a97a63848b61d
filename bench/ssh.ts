import { randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { runProbe } from '../src/nodes/probe/run-probe.ts'
import { closeHostLinks, sshProvider } from '../src/providers/ssh/index.ts'
import { openSandbox } from '../src/sandboxes/open-sandbox.ts'
import type { Sandbox } from '../src/sandboxes/sandbox.ts'
import { runHost } from './baselines.ts'
import { inTurn, latencies, latencyRow, machine, quantile, round, throughput, timed } from './measure.ts'
import type { Contender, Report, Row } from './measure.ts'
import { openSshLab } from './ssh/lab.ts'
import type { SshLab } from './ssh/lab.ts'
import { connectNodeSsh, connectSsh2, execSsh2, untilOpen } from './ssh/peers.ts'

const COMMAND = ['sh', '-c', 'true'] as const
const SHELL_COMMAND = "sh -c 'true'"
const SMALL = { count: 2000, bytes: 4096 }
const BIG_BYTES = 100e6
const SYNC_FILES = 10_000
const TURNS = 9
const SYNC_TURNS = 5

/** A host behind SSH (the lab's, on loopback): commands, transfers, a repeated sync and the probe, against what people use. */
export async function benchSsh(): Promise<Report> {
  const lab = await openSshLab()
  const before = process.env['ANYPLACE_HOME']
  process.env['ANYPLACE_HOME'] = lab.home
  const directory = await mkdtemp(join(tmpdir(), 'anyplace-bench-'))
  try {
    const provider = sshProvider({
      name: 'box',
      host: '127.0.0.1',
      port: lab.port,
      username: lab.user,
      identity: { kind: 'file', path: lab.keyFile },
      workspace: join(lab.home, 'workspace'),
    })
    await using box = await openSandbox({ provider, engine: 'direct' }, {})
    const commands = await benchCommands(lab, box)
    const files = await benchTransfers(lab, box, directory)
    const sync = await benchSync(lab, box, directory)
    const there = await provider.machine?.()
    const probes: number[] = []
    for (let turn = 0; there !== undefined && turn < 15; turn++) {
      const { durationMs, os } = await runProbe('box', there)
      if (os.kernel === undefined) throw new Error('the probe found nothing')
      probes.push(durationMs)
    }
    return {
      bench: 'ssh',
      machine,
      rows: [...commands.rows, ...files.rows, ...sync.rows, latencyRow('probe: anyplace', probes)],
      ratios: { ...commands.ratios, ...files.ratios, ...sync.ratios, probeMs: round(quantile(probes, 0.5)) },
    }
  } finally {
    await closeHostLinks()
    if (before === undefined) delete process.env['ANYPLACE_HOME']
    else process.env['ANYPLACE_HOME'] = before
    await lab.close()
    await rm(directory, { recursive: true, force: true })
  }
}

type Part = Pick<Report, 'rows' | 'ratios'>

async function benchCommands(lab: SshLab, box: Sandbox): Promise<Part> {
  const ssh2 = await connectSsh2(lab)
  const nodeSsh = await connectNodeSsh(lab)
  try {
    const busy: Contender[] = [
      // So many that this process' own half is compiled when it is measured: that takes some 1,000 calls.
      { name: 'anyplace', once: () => box.run(COMMAND), perTurn: 500 },
      { name: 'ssh, ControlMaster', once: () => runHost(['ssh', ...lab.pooled, 'box', SHELL_COMMAND]), perTurn: 40 },
      {
        name: 'ssh, new connection',
        once: () => runHost(['ssh', '-F', lab.configFile, 'box', SHELL_COMMAND]),
        perTurn: 2,
      },
    ]
    // Each call of these waits 40 ms for an acknowledgement. A machine that slept meanwhile is slow to wake for the next one.
    const waiting: Contender[] = [
      { name: 'ssh2 channel', once: () => untilOpen(() => execSsh2(ssh2, SHELL_COMMAND)), perTurn: 20 },
      { name: 'node-ssh', once: () => untilOpen(() => nodeSsh.execCommand(SHELL_COMMAND)), perTurn: 20 },
    ]
    const samples = new Map([...(await latencies(busy, 5)), ...(await latencies(waiting, 5))])
    const rows: Row[] = [...samples].map(([name, values]) => latencyRow(`command: ${name}`, values))
    const rates = new Map<string, number>()
    for (const { name, once } of [...busy, ...waiting]) {
      const rate = await throughput(
        once,
        8,
        name === 'ssh, new connection' ? 16 : name === 'ssh, ControlMaster' ? 160 : 600,
      )
      rates.set(name, rate)
      rows.push({ name: `command: ${name}, 8 at once`, opsPerSecond: round(rate) })
    }
    const p50 = (name: string): number => quantile(samples.get(name) ?? [], 0.5)
    const rate = (name: string): number => rates.get(name) ?? Number.NaN
    return {
      rows,
      ratios: {
        controlMasterP50: round(p50('ssh, ControlMaster') / p50('anyplace')),
        newConnectionP50: round(p50('ssh, new connection') / p50('anyplace')),
        controlMasterThroughput8: round(rate('anyplace') / rate('ssh, ControlMaster')),
        ssh2P50: round(p50('ssh2 channel') / p50('anyplace')),
        ssh2Throughput8: round(rate('anyplace') / rate('ssh2 channel')),
        nodeSshP50: round(p50('node-ssh') / p50('anyplace')),
      },
    }
  } finally {
    ssh2.end()
    nodeSsh.dispose()
  }
}

async function benchTransfers(lab: SshLab, box: Sandbox, directory: string): Promise<Part> {
  await mkdir(join(directory, 'small'))
  await mkdir(join(directory, 'big'))
  for (let i = 0; i < SMALL.count; i++) await writeFile(join(directory, 'small', `file-${i}`), randomBytes(SMALL.bytes))
  await writeFile(join(directory, 'big', 'file'), randomBytes(BIG_BYTES))
  const rates = new Map<string, number[]>()
  const transport = ['ssh', ...lab.pooled].join(' ')
  for (let turn = 0; turn < TURNS; turn++) {
    for (const [what, bytes, sample] of [
      ['small', SMALL.count * SMALL.bytes, 'file-7'],
      ['big', BIG_BYTES, 'file'],
    ] as const) {
      const source = join(directory, what)
      const target = (name: string): string => join(lab.remote, `${what}-${name}-${turn}`)
      const measured = async (name: string, work: (to: string) => Promise<unknown>): Promise<void> => {
        const to = target(name)
        const { ms } = await timed(() => work(to))
        rates.set(`${what} up: ${name}`, [...(rates.get(`${what} up: ${name}`) ?? []), bytes / 1e6 / (ms / 1000)])
        if (!(await readFile(join(to, sample))).equals(await readFile(join(source, sample)))) {
          throw new Error(`${name}: a file arrived changed`)
        }
      }
      await mkdir(lab.remote, { recursive: true })
      await inTurn(turn, [
        () => measured('anyplace', (to) => box.sync.up(source, to)),
        () => measured('rsync', (to) => runHost(['rsync', '-a', '-e', transport, `${source}/`, `box:${to}`])),
        () => measured('scp', (to) => runHost(['scp', '-q', '-r', ...lab.pooled, source, `box:${to}`])),
        () =>
          measured('sftp', async (to) => {
            const batch = join(directory, 'batch')
            await writeFile(batch, `mkdir ${to}\nput -r ${source}/. ${to}\n`)
            await runHost(['sftp', '-q', ...lab.pooled, '-b', batch, 'box'])
          }),
      ])
      const back = join(directory, `back-${what}-${turn}`)
      const { ms } = await timed(() => box.files.download(target('anyplace'), back))
      rates.set(`${what} down: anyplace`, [...(rates.get(`${what} down: anyplace`) ?? []), bytes / 1e6 / (ms / 1000)])
    }
  }
  const rate = (key: string): number => quantile(rates.get(key) ?? [], 0.5)
  return {
    rows: [...rates.keys()].map((name) => ({ name, mbPerSecond: round(rate(name)), samples: TURNS })),
    ratios: {
      smallFilesUp: round(rate('small up: anyplace') / rate('small up: rsync')),
      bigFileUp: round(rate('big up: anyplace') / rate('big up: scp')),
      smallFilesUpSftp: round(rate('small up: anyplace') / rate('small up: sftp')),
      bigFileUpRsync: round(rate('big up: anyplace') / rate('big up: rsync')),
    },
  }
}

/** A tree of 10,000 files: once all of it, then again with nothing changed. */
async function benchSync(lab: SshLab, box: Sandbox, directory: string): Promise<Part> {
  const source = join(directory, 'tree')
  for (let folder = 0; folder < SYNC_FILES / 100; folder++) {
    await mkdir(join(source, `folder-${folder}`), { recursive: true })
    for (let i = 0; i < 100; i++) await writeFile(join(source, `folder-${folder}`, `file-${i}`), randomBytes(1024))
  }
  const transport = ['ssh', ...lab.pooled].join(' ')
  const samples = new Map<string, number[]>()
  const note = async (name: string, work: () => Promise<unknown>): Promise<void> => {
    const { ms } = await timed(work)
    samples.set(name, [...(samples.get(name) ?? []), ms])
  }
  for (let turn = 0; turn < SYNC_TURNS; turn++) {
    const target = join(lab.remote, `tree-${turn}`)
    await mkdir(lab.remote, { recursive: true })
    await note('sync of 10,000 files, first: anyplace', () => box.sync.up(source, target))
    await note('sync of 10,000 files, second: anyplace', async () => {
      const { files, unchanged } = await box.sync.up(source, target)
      if (files !== 0 || unchanged !== SYNC_FILES) throw new Error('the second sync moved something')
    })
    const rsync = ['rsync', '-a', '-e', transport, `${source}/`, `box:${target}-rsync`]
    await note('sync of 10,000 files, first: rsync', () => runHost(rsync))
    await note('sync of 10,000 files, second: rsync', () => runHost(rsync))
  }
  const p50 = (name: string): number => quantile(samples.get(`sync of 10,000 files, ${name}`) ?? [], 0.5)
  return {
    rows: [...samples].map(([name, values]) => latencyRow(name, values)),
    ratios: {
      secondSync: round(p50('first: anyplace') / p50('second: anyplace')),
      secondSyncRsync: round(p50('second: rsync') / p50('second: anyplace')),
    },
  }
}
