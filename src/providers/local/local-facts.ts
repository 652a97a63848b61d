import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { availableParallelism, homedir, hostname, totalmem, uptime, userInfo } from 'node:os'
import { isAbsolute, join, resolve } from 'node:path'
import process from 'node:process'
import type { MachineFacts } from '../../spec/index.ts'
import { containerSigns } from '../../engines/container-signs.ts'

const ENGINE_VARIABLES = ['DOCKER_HOST', 'DOCKER_CONTEXT', 'DOCKER_CONFIG', 'CONTAINER_HOST', 'XDG_RUNTIME_DIR']

/** One `open` asks several times; what files say is read once for it. */
const KEPT_MS = 1000
let kept: { readonly atMs: number; readonly files: ReturnType<typeof readFiles> } | undefined

/** What this computer is and who we are on it. What files tell may be a second old. */
export async function localFacts(): Promise<MachineFacts> {
  const platform = process.platform === 'linux' || process.platform === 'darwin' ? process.platform : 'other'
  const nowMs = performance.now()
  if (kept === undefined || nowMs - kept.atMs > KEPT_MS) kept = { atMs: nowMs, files: readFiles() }
  const [bootId, initCgroup, mountInfo, systemdContainer, gpus] = await kept.files
  const user = userInfo()
  return {
    platform,
    architecture: process.arch,
    hostname: hostname(),
    // Without a boot id (macOS) the minute of the start stands for it.
    bootId: bootId?.trim() ?? `booted-${Math.round((Date.now() / 1000 - uptime()) / 60)}`,
    uid: user.uid,
    gid: user.gid,
    homeDirectory: homedir(),
    stateDirectory: localStateDirectory(),
    cpuCount: availableParallelism(),
    memoryMiB: Math.floor(totalMemoryBytes() / 1024 / 1024),
    engineEnv: Object.fromEntries(
      ENGINE_VARIABLES.flatMap((name) => (process.env[name] ? [[name, process.env[name]]] : [])),
    ),
    containerSigns: containerSigns({
      initCgroup,
      mountInfo,
      systemdContainer,
      hasDockerEnv: existsSync('/.dockerenv'),
      hasContainerEnv: existsSync('/run/.containerenv'),
      containerVariable: process.env['container'],
      kubernetesHost: process.env['KUBERNETES_SERVICE_HOST'],
    }),
    gpus,
  }
}

function readFiles() {
  return Promise.all([
    readText('/proc/sys/kernel/random/boot_id'),
    readText('/proc/1/cgroup'),
    readText('/proc/self/mountinfo'),
    readText('/run/systemd/container'),
    localGpus(),
  ])
}

/** ANYPLACE_HOME, or `.anyplace` in the home directory; absolute. */
export function localStateDirectory(): string {
  const chosen = process.env['ANYPLACE_HOME']
  if (!chosen) return join(homedir(), '.anyplace')
  return isAbsolute(chosen) ? chosen : resolve(chosen)
}

/** The machine's memory, or the container's share of it when that is smaller. */
function totalMemoryBytes(): number {
  const total = totalmem()
  const constrained = process.constrainedMemory()
  return constrained > 0 && constrained < total ? constrained : total
}

/** NVIDIA devices by model name, or by device file where the driver does not tell. */
async function localGpus(): Promise<readonly string[]> {
  const driver = '/proc/driver/nvidia/gpus'
  const slots = await readdir(driver).catch((): string[] => [])
  if (slots.length > 0) {
    const texts = await Promise.all(slots.toSorted().map((slot) => readText(join(driver, slot, 'information'))))
    return texts.map((text) => /^Model:\s*(.+)$/m.exec(text ?? '')?.[1]?.trim() ?? 'NVIDIA GPU')
  }
  const devices = await readdir('/dev').catch(() => [])
  return devices.filter((name) => /^nvidia\d+$/.test(name)).map((name) => `/dev/${name}`)
}

async function readText(path: string): Promise<string | undefined> {
  return readFile(path, 'utf8').catch(() => undefined)
}
