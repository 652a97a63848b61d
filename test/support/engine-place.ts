import process from 'node:process'
import { chown, mkdtemp, readdir, readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { runProcess } from '../../src/execd/run-process.ts'
import { openDaemonSession } from '../../src/execd/session.ts'
import { newId, newName } from '../../src/kit/ids.ts'
import { localMachine } from '../../src/providers/local/index.ts'
import type {
  Engine,
  Host,
  Lifetime,
  Machine,
  OpenRequest,
  RunResult,
  SandboxSpec,
  Session,
} from '../../src/spec/index.ts'

const LIFETIME: Lifetime = { timeoutMs: 60_000, maxLifetimeMs: 60_000 }

/** An engine with a state directory of its own, and an end that leaves nothing. */
export interface EnginePlace extends AsyncDisposable {
  readonly machine: Machine
  readonly engine: Engine
  readonly stateDirectory: string
  request(spec?: SandboxSpec, more?: Partial<OpenRequest>): OpenRequest
  /** Opens a sandbox; it is closed with the place. */
  open(spec?: SandboxSpec, more?: Partial<OpenRequest>): Promise<OpenedSandbox>
  /** What is left in the state directory: sandbox directories, names, checks. */
  leftovers(): Promise<readonly string[]>
}

export interface OpenedSandbox {
  readonly host: Host
  readonly session: Session
  readonly directory: string
  run(argv: readonly string[]): Promise<RunResult>
  sh(text: string): Promise<RunResult>
}

/** `uid`: the engine acts as that user; only root may ask for it. */
export async function enginePlace(
  make: (machine: Machine) => Engine,
  options: { readonly uid?: number } = {},
): Promise<EnginePlace> {
  const stateDirectory = await mkdtemp(join(tmpdir(), 'anyplace-engine-'))
  const machine = actingAs(localMachine(), stateDirectory, options.uid)
  if (options.uid !== undefined) await chown(stateDirectory, options.uid, options.uid)
  const engine = make(machine)
  const opened: OpenedSandbox[] = []
  const request = (spec: SandboxSpec = {}, more: Partial<OpenRequest> = {}): OpenRequest => ({
    spec,
    lifetime: LIFETIME,
    id: newId(),
    name: newName(),
    labels: {},
    owner: undefined,
    specDigest: 'digest',
    ...more,
  })
  return {
    machine,
    engine,
    stateDirectory,
    request,
    async open(spec, more) {
      const host = await engine.open(request(spec, more))
      const session = await openDaemonSession(await host.connect())
      const box: OpenedSandbox = {
        host,
        session,
        directory: join(stateDirectory, 'sandboxes', host.id),
        run: (argv) => runProcess(session, argv),
        sh: (text) => runProcess(session, ['/bin/sh', '-c', text]),
      }
      opened.push(box)
      return box
    },
    async leftovers() {
      const lists = await Promise.all(
        ['sandboxes', 'names'].map((name) => readdir(join(stateDirectory, name)).catch(() => [])),
      )
      return lists.flat().filter((name) => name !== '.lock')
    },
    async [Symbol.asyncDispose]() {
      for (const box of opened) {
        await box.session.close().catch(() => undefined)
        await box.host.close()
      }
      await machine.remove(stateDirectory)
    },
  }
}

/** The machine with another state directory, and with everything it starts and makes belonging to `uid`. */
function actingAs(machine: Machine, stateDirectory: string, uid: number | undefined): Machine {
  const base: Machine = {
    ...machine,
    facts: async (options) => ({ ...(await machine.facts(options)), stateDirectory }),
  }
  if (uid === undefined) return base
  return {
    ...base,
    facts: async (options) => ({ ...(await base.facts(options)), uid, gid: uid }),
    run: (argv, options) =>
      machine.run(['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', '--', ...argv], options),
    makeDirectory: async (path, options) => {
      await machine.makeDirectory(path, options)
      for (let part = path; part.startsWith(`${stateDirectory}/`); part = join(part, '..')) await chown(part, uid, uid)
    },
  }
}

/** The pid that a pid file of a sandbox names. */
export async function pidIn(path: string): Promise<number> {
  return Number((await readFile(path, 'utf8')).split(' ')[0])
}

/** Pids of processes whose command line holds the text. */
export async function processesWith(text: string): Promise<readonly number[]> {
  const found: number[] = []
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) continue
    const line = await readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => '')
    if (line.includes(text)) found.push(Number(name))
  }
  return found
}

/** Pids of `sleep SECONDS`: with a number that nobody else sleeps for they are the test's own. */
export async function sleepersOf(seconds: string): Promise<readonly number[]> {
  return processesWith(`sleep\0${seconds}\0`)
}

/** A number of seconds that no other test sleeps for. */
export function ownSeconds(): string {
  return `9${process.pid}${Math.floor(Math.random() * 1e6)}`
}

/** Waits until the check holds; the test's own timeout is the limit. */
export async function until(check: () => Promise<boolean> | boolean): Promise<void> {
  while (!(await check())) await new Promise((done) => setTimeout(done, 10))
}
