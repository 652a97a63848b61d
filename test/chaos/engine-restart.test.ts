import { execFile, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { closeSync, existsSync, openSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Engine } from '../../src/spec/index.ts'
import { dockerEngine } from '../../src/engines/docker/docker-engine.ts'
import { localMachine, localProvider } from '../../src/providers/local/index.ts'
import { attachSandbox } from '../../src/sandboxes/attach-sandbox.ts'
import { openSandbox } from '../../src/sandboxes/open-sandbox.ts'

// An engine of the test's own: nobody else's may be killed. No bridge and no rules, so that it touches nobody's network.
const can = process.getuid?.() === 0 && ['/usr/sbin/dockerd', '/usr/bin/dockerd'].some((path) => existsSync(path))
const expected = (process.env['ANYPLACE_EXPECT'] ?? '').split(',').includes('docker')
if (!can && !expected)
  process.stderr.write('engine-restart: not reached: needs root and dockerd; apt-get install docker.io\n')

const run = promisify(execFile)
let directory = ''
let dockerd: ChildProcess | undefined
let engine: Engine
const socket = (): string => join(directory, 'docker.sock')

async function startEngine(): Promise<void> {
  // Files of the dead: where pid 1 does not reap, their pids still look alive, and the next engine would wait for them.
  for (const name of ['pid', 'exec/containerd/containerd.pid']) await rm(join(directory, name), { force: true })
  const words = ['--bridge', 'none', '--iptables=false', '--log-level', 'error']
  const places = { host: `unix://${socket()}`, 'data-root': 'data', 'exec-root': 'exec', pidfile: 'pid' }
  for (const [name, value] of Object.entries(places)) {
    words.push(`--${name}`, name === 'host' ? value : join(directory, value))
  }
  const log = openSync(join(directory, 'log'), 'a')
  // in a network of its own: an engine without a bridge removes docker0, whoever made it
  dockerd = spawn('unshare', ['--net', 'dockerd', ...words], { stdio: ['ignore', log, log], detached: true })
  closeSync(log)
  const deadline = Date.now() + 40_000
  while ((await engine.check()).status !== 'ok') {
    if (Date.now() > deadline)
      throw new Error(`dockerd did not come up: ${(await readFile(join(directory, 'log'), 'utf8')).slice(-2000)}`)
    await delay(200)
  }
}

beforeAll(async () => {
  if (!can) return
  directory = await mkdtemp(join(tmpdir(), 'anyplace-engine-'))
  const lab = process.env['ANYPLACE_LAB'] ?? join(process.env['TMPDIR'] ?? '/tmp', 'anyplace-lab')
  engine = dockerEngine(localMachine(), { kind: 'docker', socket: socket() })
  if (existsSync(join(lab, 'images'))) await symlink(join(lab, 'images'), join(directory, 'images'))
  await startEngine()
  const script = fileURLToPath(new URL('../lab/base-image', import.meta.url))
  await run(script, [`unix://${socket()}`], { env: { ...process.env, ANYPLACE_LAB: directory } })
}, 240_000)

afterAll(async () => {
  if (!can) return
  dockerd?.kill('SIGTERM')
  await new Promise((done) => (dockerd?.exitCode === null ? dockerd.once('exit', done) : done(undefined)))
  // Its data directory is a mount of its own, which a killed engine leaves behind.
  for (const name of ['data', 'exec']) await run('umount', ['-R', '-l', join(directory, name)]).catch(() => undefined)
  await rm(directory, { recursive: true, force: true })
}, 60_000)

test.runIf(can || expected)(
  'an engine that is killed and comes back: a typed error, nothing left, the name free',
  { timeout: 120_000 },
  async () => {
    const node = {
      on: 'local/docker',
      engine: 'docker',
      provider: localProvider({ engines: () => [engine], engine: 'docker' }),
    }
    const name = `restart-${process.pid}`
    const mark = `9876${process.pid}`
    const box = await openSandbox(node, { name, network: false, timeoutMs: 600_000 })
    const job = await box.spawn(['sleep', mark])
    const waiting = job.wait().then(
      () => 'ended',
      (error: { code?: string }) => error.code,
    )
    dockerd?.kill('SIGKILL')
    await new Promise((done) => dockerd?.once('exit', done))
    const during = await box.run(['true']).then(
      () => 'ran',
      (error: { code?: string }) => error.code,
    )
    expect(['engine-unavailable', 'connection-lost']).toContain(during)
    await startEngine()
    // Docker without live-restore ends what ran; where it goes on, it must still be whole.
    const again = await attachSandbox(node, name, {}).catch((error: { code?: string }) => error.code)
    if (typeof again === 'object') {
      expect((await again.run(['echo', 'whole'])).stdout).toBe('whole\n')
      await again.close()
    } else expect(['sandbox-not-found', 'sandbox-gone']).toContain(again)
    expect(['connection-lost', 'sandbox-gone', 'engine-unavailable', 'ended']).toContain(await waiting)
    await box.close()
    await expect.poll(() => commandLinesWith(mark), { timeout: 20_000 }).toEqual([])
    const left: string[] = []
    for await (const info of node.provider.list()) left.push(info.name)
    expect(left).toEqual([])
    const second = await openSandbox(node, { name, network: false })
    expect((await second.run(['echo', 'again'])).stdout).toBe('again\n')
    await second.close()
  },
)

async function commandLinesWith(mark: string): Promise<readonly string[]> {
  const found: string[] = []
  for (const pid of (await readdir('/proc')).filter((entry) => /^\d+$/.test(entry))) {
    const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
    if (line.includes(mark)) found.push(line)
  }
  return found
}
