import { readFile, readdir, readlink, stat } from 'node:fs/promises'
import { join } from 'node:path'
import Docker from 'dockerode'

const SHARED_PLACES = ['/run/anyplace', '/run', '/tmp', '/dev/shm', '/var/tmp']
const CGROUPS = '/sys/fs/cgroup'

/** Everything on this machine that names one of the sandboxes: containers, processes, mounts, directories, sockets, cgroups. */
export async function leftovers(ids: readonly string[], home: string): Promise<readonly string[]> {
  const names = (text: string): boolean => ids.some((id) => text.includes(id))
  const found = await Promise.all([
    engineObjects(names),
    processes(names),
    paths(names, home),
    linesOf('/proc/net/unix', names),
    linesOf('/proc/self/mountinfo', names),
  ])
  return found.flat()
}

type Names = (text: string) => boolean

/** All text outside a sandbox that tells of it: the engines' records and logs, argv of all processes, the state files. */
export async function records(id: string, home: string): Promise<string> {
  const parts: string[] = []
  for (const docker of engines()) {
    for (const { Id } of await docker.listContainers({ all: true }).catch(() => [])) {
      const container = docker.getContainer(Id)
      const inspected = JSON.stringify(await container.inspect().catch(() => ''))
      if (!inspected.includes(id)) continue
      const logs = await container.logs({ stdout: true, stderr: true }).catch(() => Buffer.alloc(0))
      parts.push(inspected, logs.toString('latin1'))
    }
  }
  for (const pid of await pids()) parts.push(await text(`/proc/${pid}/cmdline`))
  for (const path of await walk(home)) {
    const info = await stat(path).catch(() => undefined)
    parts.push(path)
    if (info?.isFile() && info.size < 16 * 1024 * 1024) parts.push(await text(path))
  }
  return parts.join('\n')
}

function engines(): readonly Docker[] {
  const hosts = [
    process.env['DOCKER_HOST'],
    process.env['CONTAINER_HOST'],
    'unix:///var/run/docker.sock',
    'unix:///run/podman/podman.sock',
  ]
  const sockets = new Set(hosts.filter((host) => host !== undefined).filter((host) => host.startsWith('unix://')))
  return [...sockets].map((host) => new Docker({ socketPath: host.slice('unix://'.length) }))
}

async function engineObjects(names: Names): Promise<readonly string[]> {
  const all: unknown[] = []
  for (const docker of engines()) {
    all.push(...(await docker.listContainers({ all: true }).catch(() => [])))
    all.push(...(await docker.listNetworks().catch(() => [])))
    all.push(
      ...(await docker.listVolumes().then(
        ({ Volumes }) => Volumes,
        () => [],
      )),
    )
  }
  const texts = all.map((one) => JSON.stringify(one)).filter(names)
  return texts.map((one) => `engine object ${one.slice(0, 200)}`)
}

async function pids(): Promise<readonly string[]> {
  return (await readdir('/proc')).filter((name) => /^\d+$/.test(name) && name !== String(process.pid))
}

async function text(path: string): Promise<string> {
  return readFile(path, 'latin1').catch(() => '')
}

async function processes(names: Names): Promise<readonly string[]> {
  const found: string[] = []
  for (const pid of await pids()) {
    const argv = await text(`/proc/${pid}/cmdline`)
    const parts = [argv, await text(`/proc/${pid}/environ`), await text(`/proc/${pid}/mountinfo`)]
    parts.push(await readlink(`/proc/${pid}/cwd`).catch(() => ''))
    if (parts.some(names)) found.push(`process ${pid}: ${argv.replaceAll('\0', ' ').slice(0, 100)}`)
  }
  return found
}

async function walk(directory: string): Promise<readonly string[]> {
  const entries = await readdir(directory, { recursive: true }).catch(() => [])
  return entries.map((entry) => join(directory, entry))
}

async function paths(names: Names, home: string): Promise<readonly string[]> {
  const all = [...(await walk(home)), ...(await walk(CGROUPS))]
  for (const place of SHARED_PLACES)
    all.push(...(await readdir(place).catch(() => [])).map((name) => join(place, name)))
  return all.filter(names).map((path) => `path ${path}`)
}

async function linesOf(file: string, names: Names): Promise<readonly string[]> {
  const lines = (await text(file)).split('\n')
  return lines.filter(names).map((line) => `${file}: ${line}`)
}
