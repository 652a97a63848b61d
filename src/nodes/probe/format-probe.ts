import type { GpuReport, ProbeReport } from './probe-report.ts'

const GIB = 2 ** 30

/** The report for people and for language models: system, GPUs, Python and disk in the well-known lines, then the rest. */
export function formatProbe(report: ProbeReport): string {
  const { os, cpu, memory, disk } = report
  const name = [os.distribution, os.version].filter((part) => part !== undefined).join(' ')
  const system = [os.kernel, os.architecture].filter((part) => part !== undefined).join(' ')
  const programs = [
    programLine(
      'Node',
      report.nodes.map(({ version }) => version),
    ),
    report.sshVersion === undefined ? [] : [`OpenSSH: ${report.sshVersion}`],
    report.rsyncVersion === undefined ? [] : [`rsync: ${report.rsyncVersion}`],
  ].flat()
  return [
    `OS: ${system || 'unknown'}${name === '' ? '' : ` (${name})`}`,
    ...gpuLines(report),
    ...(programLine('Python', minors(report)).length === 0 ? ['Python: none'] : programLine('Python', minors(report))),
    `Disk: ${disk.freeBytes === undefined ? 'unknown' : `${size(disk.freeBytes)} free`}`,
    ...(disk.totalBytes === undefined
      ? []
      : [`Disk size: ${size(disk.totalBytes)}${disk.path === undefined ? '' : `, of ${disk.path}`}`]),
    `CPU: ${[cpu.model ?? 'unknown', ...(cpu.cores === undefined ? [] : [`${cpu.cores} cores`]), ...(cpu.limit === undefined ? [] : [`limited to ${cpu.limit}`])].join(', ')}`,
    `Memory: ${memory.totalBytes === undefined ? 'unknown' : size(memory.totalBytes)}${
      memory.availableBytes === undefined ? '' : `, ${size(memory.availableBytes)} available`
    }${memory.limitBytes === undefined ? '' : `, limited to ${size(memory.limitBytes)}`}`,
    `Containers: ${report.runtimes.map((runtime) => `${runtime.name}${runtime.version === undefined ? '' : ` ${runtime.version}`}${runtime.isUsable === false ? ` (not usable: ${runtime.problem ?? 'unknown'})` : ''}`).join(', ') || 'none'}`,
    ...programs,
    ...(os.kernelVersion === undefined ? [] : [`Kernel: ${os.kernelVersion}`]),
    `Round trip: ${report.roundTripMs} ms`,
    ...report.problems.map((problem) => `Problem: ${problem}`),
  ].join('\n')
}

function gpuLines({ gpus, cudaToolkits }: ProbeReport): string[] {
  const toolkits = cudaToolkits.length === 0 ? [] : [`CUDA toolkits: ${cudaToolkits.join(', ')}`]
  if (gpus.length === 0) return ['GPUs: none', ...toolkits]
  const versions = gpus.find(({ driverVersion }) => driverVersion !== undefined)
  return [
    'GPUs:',
    ...gpus.flatMap((gpu) => [
      `- ${gpu.model}${gpu.memoryTotalBytes === undefined ? '' : ` (${size(gpu.memoryTotalBytes)})`}`,
      ...gpuDetails(gpu),
    ]),
    ...(versions === undefined
      ? []
      : [`CUDA: ${versions.cudaVersion ?? 'unknown'}, Driver: ${versions.driverVersion ?? 'unknown'}`]),
    ...toolkits,
  ]
}

function gpuDetails({ memoryFreeBytes, utilizationPercent, migEnabled, migDevices = [] }: GpuReport): string[] {
  const facts = [
    ...(memoryFreeBytes === undefined ? [] : [`${size(memoryFreeBytes)} free`]),
    ...(utilizationPercent === undefined ? [] : [`${utilizationPercent}% busy`]),
    ...(migEnabled === true
      ? [`MIG: ${migDevices.map(({ profile }) => profile ?? 'unknown').join(', ') || 'no slices'}`]
      : []),
  ]
  return facts.length === 0 ? [] : [`  ${facts.join(', ')}`]
}

/** `3.12, 3.11`: each minor version once, newest first. */
function minors({ pythons }: ProbeReport): string[] {
  return [...new Set(pythons.map(({ version }) => version.split('.').slice(0, 2).join('.')))]
}

function programLine(name: string, versions: readonly string[]): string[] {
  return versions.length === 0 ? [] : [`${name}: ${versions.join(', ')}`]
}

/** Of 2^30 bytes, and said as GB, as every tool that lists cards does. Below one, with a digit. */
function size(bytes: number): string {
  const amount = bytes / GIB
  return `${amount >= 10 ? Math.round(amount) : Math.round(amount * 10) / 10}GB`
}
