import { open } from '../src/index.ts'
import type { OpenOptions, Sandbox } from '../src/index.ts'
import { IMAGE } from './baselines.ts'
import { machine, round } from './measure.ts'
import type { Report, Row } from './measure.ts'

const COMMANDS = 500
const SECONDS = 20

/** What the exec daemon takes: idle, and with 500 commands in flight, each of which must end with its own exit code. */
export async function benchMemory(): Promise<Report> {
  const rows: Row[] = []
  const ratios: Record<string, number> = {}
  const engines: readonly (readonly [string, OpenOptions])[] = [
    ['docker', { on: 'local/docker', image: IMAGE }],
    ['namespace', { on: 'local/namespace' }],
    ['direct', { on: 'local/direct' }],
  ]
  for (const [name, options] of engines) {
    await using box = await open(options)
    const idle = await look(box)
    const running = Array.from({ length: COMMANDS }, (_, index) =>
      box.run(['sh', '-c', `sleep ${SECONDS}; exit ${index % 120}`]),
    )
    const running500 = await whenAllRun(box)
    const results = await Promise.all(running)
    const wrong = results.filter(({ exitCode }, index) => exitCode !== index % 120).length
    if (wrong > 0) throw new Error(`${wrong} of ${COMMANDS} commands on ${name} ended with another's exit code`)
    rows.push(
      { name: `${name}: idle`, note: text(idle) },
      { name: `${name}: ${COMMANDS} commands in flight`, note: text(running500) },
    )
    ratios[`${name}DaemonMiB`] = round(running500.daemonMiB)
    ratios[`${name}WithKeepersMiB`] = round(running500.allMiB)
  }
  return { bench: 'memory', machine, rows, ratios }
}

interface Memory {
  /** The daemon's process. */
  readonly daemonMiB: number
  /** It and all that it needs: the supervisor, the zygote, a keeper for each running command. Shared pages count once. */
  readonly allMiB: number
}

async function whenAllRun(box: Sandbox): Promise<Memory> {
  for (;;) {
    if ((await box.processes()).filter(({ exit }) => exit === undefined).length >= COMMANDS) return await look(box)
    await new Promise((done) => setTimeout(done, 100))
  }
}

/** A command's parent is its keeper, the keeper's the zygote, the zygote's the daemon. */
const RESIDENT_OF_DAEMON = `pid=$$
for _ in 1 2 3; do read -r _ _ _ pid _ < /proc/$pid/stat; done
grep VmRSS: /proc/$pid/status`

async function look(box: Sandbox): Promise<Memory> {
  const { stdout } = await box.run(['sh', '-c', RESIDENT_OF_DAEMON], { check: true })
  const { daemonMemoryBytes } = await box.stats()
  return { daemonMiB: Number(/\d+/.exec(stdout)?.[0]) / 1024, allMiB: (daemonMemoryBytes ?? Number.NaN) / 2 ** 20 }
}

function text({ daemonMiB, allMiB }: Memory): string {
  return `the daemon ${round(daemonMiB)} MiB, with supervisor, zygote and keepers ${round(allMiB)} MiB`
}
