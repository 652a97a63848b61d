import { parseNvidia } from './parse-nvidia.ts'
import type { GpuReport } from './probe-report.ts'
import { cleanLine, newestFirst, wholeOrNothing } from './sections.ts'
import type { Section } from './sections.ts'

const VENDORS: Readonly<Record<string, GpuReport['vendor']>> = {
  '0x10de': 'nvidia',
  '0x1002': 'amd',
  '0x8086': 'intel',
}

/** What the machine said of its graphics. */
export interface GpuSections {
  readonly nvidia?: Section | undefined
  readonly nvidiaList?: Section | undefined
  readonly nvidiaDriver?: Section | undefined
  readonly toolkits?: Section | undefined
  readonly displays?: Section | undefined
  readonly pci: readonly Section[]
}

/** Cards that can be used, toolkits, and why a card that is there cannot be used. */
export function parseGpus(sections: GpuSections): {
  readonly gpus: readonly GpuReport[]
  readonly cudaToolkits: readonly string[]
  readonly problems: readonly string[]
} {
  const nvidia = parseNvidia(sections.nvidia?.text ?? '', sections.nvidiaList?.text ?? '')
  const devices = sections.pci.slice(0, 64).map(({ text }) => text.split('|'))
  return {
    gpus: [...nvidia, ...devices.flatMap(amdCard), ...appleCards(sections.displays?.text ?? '')],
    cudaToolkits: toolkits(sections.toolkits?.text ?? ''),
    problems: nvidia.length > 0 ? [] : nvidiaProblems(sections, devices),
  }
}

/** Only a card with memory of its own and the driver that shows it is of use to anybody. */
function amdCard([vendor, device, total, used, busy, name]: readonly string[]): GpuReport[] {
  const memoryTotalBytes = wholeOrNothing(total)
  if (VENDORS[vendor ?? ''] !== 'amd' || memoryTotalBytes === undefined) return []
  const memoryUsedBytes = wholeOrNothing(used)
  const utilizationPercent = wholeOrNothing(busy)
  return [
    {
      model: cleanLine(name, 100) ?? `AMD GPU ${cleanLine(device, 10) ?? ''}`.trim(),
      vendor: 'amd',
      memoryTotalBytes,
      memoryFreeBytes: memoryUsedBytes === undefined ? undefined : Math.max(0, memoryTotalBytes - memoryUsedBytes),
      utilizationPercent:
        utilizationPercent !== undefined && utilizationPercent <= 100 ? utilizationPercent : undefined,
    },
  ]
}

/** `system_profiler SPDisplaysDataType`. Apple's own processors share the machine's memory. */
function appleCards(text: string): GpuReport[] {
  return text
    .split(/^\s*Chipset Model:/m)
    .slice(1, 65)
    .map((card) => {
      const model = cleanLine(card.split('\n')[0], 100) ?? 'unknown'
      const [, amount, unit] = /^\s*VRAM \([^)]*\): (\d{1,7}) (MB|GB)\s*$/m.exec(card) ?? []
      const bytes = amount === undefined ? undefined : Number(amount) * (unit === 'GB' ? 2 ** 30 : 2 ** 20)
      const vendor = model.startsWith('Apple')
        ? 'apple'
        : model.startsWith('AMD')
          ? 'amd'
          : model.startsWith('Intel')
            ? 'intel'
            : 'other'
      return { model, vendor, ...(bytes === undefined ? {} : { memoryTotalBytes: bytes }) }
    })
}

function toolkits(text: string): string[] {
  const found = [...text.matchAll(/^cuda-(\d{1,3}(?:\.\d{1,3})?)$|release (\d{1,3}\.\d{1,3})/gm)]
  return [...new Set(found.map((match) => match[1] ?? match[2] ?? ''))].sort(newestFirst).slice(0, 32)
}

function nvidiaProblems({ nvidia, nvidiaDriver }: GpuSections, devices: readonly (readonly string[])[]): string[] {
  const cards = devices.filter(([vendor]) => VENDORS[vendor ?? ''] === 'nvidia').length
  const there = cards === 0 ? '' : ` (the machine has ${cards} NVIDIA ${cards === 1 ? 'device' : 'devices'})`
  if (nvidia?.code === 'timeout') return [`nvidia-smi did not answer in time${there}`]
  if (nvidia !== undefined && !/No devices (were )?found/i.test(nvidia.text)) {
    const said = cleanLine(nvidia.text, 300)
    return [`nvidia-smi failed${there}: ${said ?? `it said nothing (exit code ${nvidia.code ?? 'unknown'})`}`]
  }
  if (cards === 0) return []
  return [
    nvidiaDriver === undefined
      ? `there ${cards === 1 ? 'is an NVIDIA device' : `are ${cards} NVIDIA devices`} without a driver`
      : `there is an NVIDIA driver, and nvidia-smi is missing or finds no device${there}`,
  ]
}
