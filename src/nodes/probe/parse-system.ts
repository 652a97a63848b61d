import type { ProbeReport } from './probe-report.ts'
import { cleanLine, wholeOrNothing } from './sections.ts'

/** Linux, `uname -srm` and the release file; macOS, `sw_vers`. */
export function parseOs(system: string, release: string, macos: string): ProbeReport['os'] {
  const [kernel, kernelVersion, architecture] = (cleanLine(system) ?? '').split(' ')
  const names = kernel === 'Darwin' ? macNames(macos) : releaseNames(release)
  return { kernel: kernel || undefined, kernelVersion, architecture, ...names }
}

function releaseNames(text: string): { distribution?: string | undefined; version?: string | undefined } {
  const values = new Map<string, string>()
  for (const line of text.split('\n')) {
    const match = /^\s*([A-Z_]+)=(.*)$/.exec(line)
    if (match) values.set(match[1] ?? '', unquoted(match[2]?.trim() ?? ''))
  }
  const name = cleanLine(values.get('NAME'), 60) ?? cleanLine(values.get('ID'), 60)
  // "Debian GNU/Linux" is said as "Debian"; a rolling distribution has no version.
  return { distribution: name?.replace(/ (GNU\/)?Linux$/, ''), version: cleanLine(values.get('VERSION_ID'), 40) }
}

function unquoted(text: string): string {
  const quoted = /^(["'])(.*)\1$/.exec(text)
  return (quoted?.[2] ?? text).replace(/\\(["'$`\\])/g, '$1')
}

function macNames(text: string): { distribution?: string | undefined; version?: string | undefined } {
  const value = (key: string): string | undefined => cleanLine(new RegExp(`^${key}:(.*)$`, 'm').exec(text)?.[1], 40)
  return { distribution: value('ProductName'), version: value('ProductVersion') }
}

/** The first stanza of /proc/cpuinfo, else what `lscpu` or the board says. */
export function parseCpu(model: string, other: string, cores: string, limits: string): ProbeReport['cpu'] {
  const named = /^lscpu (.+)$/m.exec(other)?.[1] ?? /^board (.+)$/m.exec(other)?.[1]
  const [, quota, period] = /^cpu (\d+) (\d+)$/m.exec(limits) ?? []
  const limit = Number(quota) / Number(period)
  return {
    model: cleanLine(model.split('\n')[0], 100) ?? (named === '-' ? undefined : cleanLine(named, 100)),
    cores: wholeOrNothing(cores.split('\n')[0]) || undefined,
    ...(Number.isFinite(limit) && limit > 0 ? { limit: Math.round(limit * 100) / 100 } : {}),
  }
}

/** /proc/meminfo, or what `sysctl` and `vm_stat` of macOS say. */
export function parseMemory(text: string, limits: string): ProbeReport['memory'] {
  const read = /^hw\.memsize:/m.test(text) ? macMemory(text) : linuxMemory(text)
  const limit = wholeOrNothing(/^memory (\d+)$/m.exec(limits)?.[1])
  const isLimit = limit !== undefined && (read.totalBytes === undefined || limit < read.totalBytes)
  return { ...read, ...(isLimit ? { limitBytes: limit } : {}) }
}

function linuxMemory(text: string): ProbeReport['memory'] {
  const bytes = (key: string): number | undefined => {
    const amount = wholeOrNothing(new RegExp(`^${key}:\\s*(\\d+) kB\\s*$`, 'm').exec(text)?.[1])
    return amount === undefined ? undefined : amount * 1024
  }
  const free = bytes('MemFree')
  // Kernels before 3.14 do not say what is available.
  const guess = free === undefined ? undefined : free + (bytes('Buffers') ?? 0) + (bytes('Cached') ?? 0)
  return { totalBytes: bytes('MemTotal'), availableBytes: bytes('MemAvailable') ?? guess }
}

function macMemory(text: string): ProbeReport['memory'] {
  const pageBytes = wholeOrNothing(/page size of (\d+) bytes/.exec(text)?.[1]) ?? 4096
  const pages = (key: string): number | undefined =>
    wholeOrNothing(new RegExp(`^Pages ${key}:\\s*(\\d+)\\.?\\s*$`, 'm').exec(text)?.[1])
  const free = pages('free')
  return {
    totalBytes: wholeOrNothing(/^hw\.memsize:\s*(\d+)/m.exec(text)?.[1]),
    availableBytes:
      free === undefined
        ? undefined
        : (free + (pages('inactive') ?? 0) + (pages('speculative') ?? 0) + (pages('purgeable') ?? 0)) * pageBytes,
  }
}

/** The workspace and `df -P -k` of it. */
export function parseDisk(text: string): ProbeReport['disk'] {
  const path = cleanLine(/^path (\/.*)$/m.exec(text)?.[1], 4096)
  // A device's name may hold spaces, and so may the place where it is mounted; between them stand three numbers.
  const found = /\s(\d{1,20})\s+(\d{1,20})\s+(-?\d{1,20})\s+(?:\d{1,3}%|-)\s+\//.exec(text)
  const [total, free] = [wholeOrNothing(found?.[1]), wholeOrNothing(found?.[3]?.replace(/^-\d+$/, '0'))]
  return {
    path,
    totalBytes: total === undefined ? undefined : total * 1024,
    freeBytes: free === undefined ? undefined : free * 1024,
  }
}
