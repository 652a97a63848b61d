import type { GpuReport, MigDevice } from './probe-report.ts'
import { cleanLine, wholeOrNothing } from './sections.ts'

/** A line of `nvidia-smi -q` and what stands deeper below it. */
interface Entry {
  readonly key: string
  readonly value: string
  readonly children: Entry[]
}

const MAX_LINES = 20_000
const MIB = 2 ** 20

/**
 * The cards that `nvidia-smi -q` describes. It is read by its indentation, so a driver that says more or less than
 * another costs no card.
 */
export function parseNvidia(text: string, list: string): readonly GpuReport[] {
  const top = entriesOf(text)
  const shared = {
    driverVersion: version(top.find(({ key }) => key === 'Driver Version')?.value),
    cudaVersion: version(top.find(({ key }) => key === 'CUDA Version')?.value),
  }
  const profiles = profilesOf(list)
  return top
    .filter(({ key }) => /^GPU [0-9A-Fa-f:.]+$/.test(key))
    .slice(0, 256)
    .map((gpu) => cardOf(gpu, shared, profiles))
}

function entriesOf(text: string): Entry[] {
  const root: Entry = { key: '', value: '', children: [] }
  const path: { readonly indent: number; readonly entry: Entry }[] = [{ indent: -1, entry: root }]
  for (const line of text.split('\n', MAX_LINES)) {
    if (line.trim() === '') continue
    const indent = line.length - line.trimStart().length
    const split = / +: /.exec(line)
    const key = (split === null ? line : line.slice(0, split.index)).trim()
    const value = split === null ? '' : line.slice(split.index + split[0].length).trim()
    while (path.length > 1 && (path.at(-1)?.indent ?? -1) >= indent) path.pop()
    const entry: Entry = { key, value, children: [] }
    path.at(-1)?.entry.children.push(entry)
    path.push({ indent, entry })
  }
  return root.children
}

function cardOf(
  gpu: Entry,
  shared: Pick<GpuReport, 'driverVersion' | 'cudaVersion'>,
  profiles: ReadonlyMap<string, readonly Pick<MigDevice, 'profile' | 'uuid'>[]>,
): GpuReport {
  const uuid = identifier(valueOf(gpu, 'GPU UUID'))
  const mode = valueOf(child(gpu, 'MIG Mode'), 'Current')
  const named = profiles.get(uuid ?? '') ?? []
  const slices = gpu.children.filter(({ key }) => key === 'MIG Device')
  const load = child(gpu, 'Utilization')
  return {
    model: cleanLine(valueOf(gpu, 'Product Name'), 100) ?? 'unknown',
    vendor: 'nvidia',
    uuid,
    ...memoryOf(child(gpu, 'FB Memory Usage')),
    utilizationPercent: percent(valueOf(load, 'Gpu') ?? valueOf(load, 'GPU')),
    ...shared,
    ...(mode === 'Enabled' || mode === 'Disabled' ? { migEnabled: mode === 'Enabled' } : {}),
    ...(slices.length === 0
      ? {}
      : {
          migDevices: slices.map((slice, index) => ({ ...named[index], ...memoryOf(child(slice, 'FB Memory Usage')) })),
        }),
  }
}

/** `nvidia-smi -L` is the only place where the slices have their names. */
function profilesOf(list: string): Map<string, Pick<MigDevice, 'profile' | 'uuid'>[]> {
  const profiles = new Map<string, Pick<MigDevice, 'profile' | 'uuid'>[]>()
  let card: Pick<MigDevice, 'profile' | 'uuid'>[] | undefined
  for (const line of list.split('\n', MAX_LINES)) {
    const gpu = /^GPU \d+:.*\(UUID: (GPU-[\w-]+)\)/.exec(line)?.[1]
    const slice = /^\s+MIG (\S+)\s+Device\s+\d+:\s*(?:\(UUID: (MIG-[\w/-]+)\))?/.exec(line)
    if (gpu !== undefined) {
      card = []
      profiles.set(gpu, card)
    } else if (slice !== null) {
      card?.push({ profile: cleanLine(slice[1], 40), uuid: slice[2] })
    }
  }
  return profiles
}

function memoryOf(usage: Entry | undefined): Pick<GpuReport, 'memoryTotalBytes' | 'memoryFreeBytes'> {
  const [total, free] = ['Total', 'Free'].map((key) =>
    wholeOrNothing(/^(\d+) MiB$/.exec(valueOf(usage, key) ?? '')?.[1]),
  )
  return {
    memoryTotalBytes: total === undefined ? undefined : total * MIB,
    memoryFreeBytes: free === undefined ? undefined : free * MIB,
  }
}

function child(entry: Entry | undefined, key: string): Entry | undefined {
  return entry?.children.find((one) => one.key === key)
}

function valueOf(entry: Entry | undefined, key: string): string | undefined {
  return child(entry, key)?.value
}

function percent(text: string | undefined): number | undefined {
  const number = wholeOrNothing(/^(\d{1,3}) %$/.exec(text ?? '')?.[1])
  return number !== undefined && number <= 100 ? number : undefined
}

function version(text: string | undefined): string | undefined {
  return /^\d[\d.]{0,30}$/.exec(text ?? '')?.[0]
}

function identifier(text: string | undefined): string | undefined {
  return /^GPU-[\w-]{1,60}$/.exec(text ?? '')?.[0]
}
