import { open } from '../src/index.ts'
import { connectDockerode, dockerodeExec, IMAGE, runHost } from './baselines.ts'
import { latencies, latencyRow, machine, quantile, round, throughput } from './measure.ts'
import type { Contender, Report, Row } from './measure.ts'

const COMMAND = ['sh', '-c', 'true'] as const

/** One command: through Anyplace, docker exec, dockerode, testcontainers, and the floor, a spawn on the host. */
export async function benchExec(): Promise<Report> {
  await using box = await open({ on: 'local/docker', image: IMAGE })
  await using direct = await open({ on: 'local/direct' })
  const docker = await connectDockerode()
  const container = docker.getContainer(`anyplace-${box.name}`)
  process.env['TESTCONTAINERS_RYUK_DISABLED'] = 'true' // its reaper image cannot be pulled everywhere
  const { GenericContainer } = await import('testcontainers')
  const started = await new GenericContainer(IMAGE).withCommand(['sleep', '600']).start()
  try {
    const contenders: Contender[] = [
      { name: 'anyplace docker', once: () => box.run(COMMAND), perTurn: 25 },
      { name: 'anyplace docker, other user', once: () => box.run(COMMAND, { user: '1000' }), perTurn: 25 },
      { name: 'anyplace direct', once: () => direct.run(COMMAND), perTurn: 25 },
      { name: 'node spawn on the host', once: () => runHost(COMMAND), perTurn: 25 },
      { name: 'node spawn on the host, other user', once: () => runHost(COMMAND, { uid: 1000 }), perTurn: 25 },
      { name: 'dockerode exec', once: () => dockerodeExec(container, COMMAND), perTurn: 4 },
      { name: 'docker exec', once: () => runHost(['docker', 'exec', container.id, ...COMMAND]), perTurn: 4 },
      { name: 'testcontainers exec', once: () => started.exec([...COMMAND]), perTurn: 4 },
    ]
    const samples = await latencies(contenders, 12)
    const p50 = (name: string): number => quantile(samples.get(name) ?? [], 0.5)
    const rows: Row[] = [...samples].map(([name, values]) => latencyRow(name, values))
    const rates = new Map<string, number>()
    for (const width of [8, 32]) {
      for (const { name, once, perTurn } of contenders) {
        const rate = await throughput(once, width, perTurn === 25 ? 600 : 64)
        rates.set(`${name} ${width}`, rate)
        rows.push({ name: `${name}, ${width} at once`, opsPerSecond: round(rate) })
      }
    }
    const rate = (name: string): number => rates.get(name) ?? Number.NaN
    return {
      bench: 'exec',
      machine,
      rows,
      ratios: {
        dockerExecP50: round(p50('docker exec') / p50('anyplace docker')),
        dockerExecThroughput8: round(rate('anyplace docker 8') / rate('docker exec 8')),
        dockerExecThroughput32: round(rate('anyplace docker 32') / rate('docker exec 32')),
        dockerodeP50: round(p50('dockerode exec') / p50('anyplace docker')),
        testcontainersP50: round(p50('testcontainers exec') / p50('anyplace docker')),
        spawnFloorP50: round(p50('anyplace docker') / p50('node spawn on the host')),
        userSwitchP50: round(p50('anyplace docker, other user') / p50('node spawn on the host')),
      },
    }
  } finally {
    await started.stop()
  }
}
