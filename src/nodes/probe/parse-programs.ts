import type { ProbeReport, ProgramReport, RuntimeReport } from './probe-report.ts'
import { cleanLine, newestFirst } from './sections.ts'
import type { Section } from './sections.ts'

/** Lines `NAME|PATH|WHAT IT SAID`; what does not say a version is no version. */
export function parsePrograms(
  pythons: string,
  versions: string,
): Pick<ProbeReport, 'pythons' | 'nodes' | 'sshVersion' | 'rsyncVersion'> & {
  readonly runtimes: readonly RuntimeReport[]
} {
  const lines = `${pythons}\n${versions}`
    .split('\n', 500)
    .map((line) => /^([a-z-]+)\|([^|]*)\|(.*)$/.exec(line)?.slice(1) ?? [])
  const said = (name: string): string | undefined => lines.find(([one]) => one === name)?.[2]
  const programs = (name: string, form: RegExp): ProgramReport[] =>
    lines
      .flatMap(([one, path, text]) => {
        const version = one === name ? form.exec(text ?? '')?.[1] : undefined
        return version === undefined ? [] : [{ version, path: cleanLine(path, 4096) ?? '' }]
      })
      .sort((first, second) => newestFirst(first.version, second.version))
  return {
    pythons: programs('python', /^Python (\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?\+?)\s*$/),
    nodes: programs('node', /^v(\d+\.\d+\.\d+)\s*$/),
    sshVersion: /^OpenSSH_(?:for_Windows_)?(\d[\w.]*)/.exec(said('ssh') ?? '')?.[1],
    // Apple's openrsync says which rsync it is compatible with, and it is not one.
    rsyncVersion: /^rsync\s+version v?(\d+(?:\.\d+)+)/.exec(said('rsync') ?? '')?.[1],
    runtimes: (['apptainer', 'singularity', 'nvidia-ctk'] as const).flatMap((name) => {
      const version = /(\d+\.\d+[\w.+-]*)/.exec(said(name) ?? '')?.[1]
      return version === undefined ? [] : [{ name, version }]
    }),
  }
}

/** Docker by what its client and its engine say, Podman by its version: it needs no engine. */
export function parseRuntimes(docker: Section | undefined, podman: Section | undefined): RuntimeReport[] {
  const runtimes: RuntimeReport[] = []
  if (docker !== undefined) {
    const [, client, server] = /^(\d[\w.+~-]*)?\|(\d[\w.+~-]*)?\s*$/m.exec(docker.text) ?? []
    const isUsable = server !== undefined && docker.code === '0'
    const lines = docker.text.split('\n').filter((line) => line.trim() !== '' && !/^[^ ]*\|[^ ]*$/.test(line))
    const problem = docker.code === 'timeout' ? 'it did not answer in time' : (cleanLine(lines.at(-1)) ?? 'it failed')
    runtimes.push({ name: 'docker', version: server ?? client, isUsable, ...(isUsable ? {} : { problem }) })
  }
  if (podman !== undefined) {
    const version = /version (\d[\w.+~-]*)/.exec(podman.text)?.[1]
    const problem = podman.code === 'timeout' ? 'it did not answer in time' : (cleanLine(podman.text) ?? 'it failed')
    runtimes.push({
      name: 'podman',
      version,
      isUsable: version !== undefined,
      ...(version === undefined ? { problem } : {}),
    })
  }
  return runtimes
}
