import { AnyplaceError, DEFAULTS, unsupportedField } from '../../spec/index.ts'
import type { HostInfo, SandboxSpec } from '../../spec/index.ts'
import { TITLES } from './connection.ts'
import type { Connection } from './connection.ts'

/** The daemon's own need, on top of what the user asked for. */
export const DAEMON_MEMORY_MIB = 64
/**
 * Supervisor, connector, daemon, zygote and one keeper. No more, since the user could take whatever is spare: each further
 * command at the same time takes its keeper from the user's share.
 */
export const DAEMON_PIDS = 5

const MIB = 1024 * 1024
/** The engines refuse less. */
const MIN_CPU = 0.01

export interface EngineLimits {
  readonly PidsLimit?: number
  readonly Memory?: number
  readonly MemorySwap?: number
  readonly NanoCpus?: number
}

/**
 * Limits as the Engine API takes them, with room for the daemon.
 *
 * @throws AnyplaceError `unsupported` for what this engine or machine cannot enforce, `invalid-argument` for senseless numbers
 */
export function limitsOf(spec: SandboxSpec, { info, kind }: Connection, machineLabel: string): EngineLimits {
  const { cpu, cpuLimit, memoryLimitMiB, memoryMiB, pidsLimit } = spec
  for (const [field, value] of Object.entries({ cpu, cpuLimit, memoryLimitMiB, memoryMiB, pidsLimit })) {
    if (value !== undefined && !(Number.isFinite(value) && value > 0)) {
      throw new AnyplaceError('invalid-argument', `${field} must be a number above 0 (got ${String(value)}).`, {
        field,
      })
    }
  }
  const where = `${TITLES[kind]} on ${machineLabel}`
  const totalMiB = Math.floor(info.MemTotal / MIB)
  for (const [field, value] of Object.entries({ cpu, cpuLimit })) {
    if (value !== undefined && value > info.NCPU) {
      throw unsupportedField(field, value, where, `it has ${info.NCPU} CPUs`, `Ask for ${info.NCPU} at most`)
    }
  }
  for (const [field, value] of Object.entries({ memoryMiB, memoryLimitMiB })) {
    if (value !== undefined && value > totalMiB) {
      throw unsupportedField(field, value, where, `it has ${totalMiB} MiB of memory`, `Ask for ${totalMiB} at most`)
    }
  }
  const cgroups = 'its control groups are not available to it'
  const delegate = 'With a rootless engine, let systemd delegate the controllers cpu, memory and pids to the user'
  if (cpuLimit !== undefined && !info.CpuCfsQuota)
    throw unsupportedField('cpuLimit', cpuLimit, where, cgroups, delegate)
  if (memoryLimitMiB !== undefined && !info.MemoryLimit)
    throw unsupportedField('memoryLimitMiB', memoryLimitMiB, where, cgroups, delegate)
  if (pidsLimit !== undefined && !info.PidsLimit)
    throw unsupportedField('pidsLimit', pidsLimit, where, cgroups, delegate)
  if (cpuLimit !== undefined && cpuLimit < MIN_CPU) {
    throw unsupportedField('cpuLimit', cpuLimit, where, `the least it can enforce is ${MIN_CPU}`)
  }
  const memory = memoryLimitMiB === undefined ? undefined : Math.ceil((memoryLimitMiB + DAEMON_MEMORY_MIB) * MIB)
  return {
    ...(info.PidsLimit ? { PidsLimit: Math.ceil(pidsLimit ?? DEFAULTS.pidsLimit) + DAEMON_PIDS } : {}),
    // Equal to the memory: no swap. Where swap cannot be counted, the kernel keeps the limit on memory alone.
    ...(memory === undefined ? {} : { Memory: memory, ...(info.SwapLimit ? { MemorySwap: memory } : {}) }),
    ...(cpuLimit === undefined ? {} : { NanoCpus: Math.round(cpuLimit * 1e9) }),
  }
}

/** The engine's limits as the user knows them: without the daemon's room. */
export function limitsInForce(limits: {
  readonly PidsLimit?: number | null
  readonly Memory?: number | null
  readonly NanoCpus?: number | null
  readonly CpuQuota?: number | null
  readonly CpuPeriod?: number | null
}): HostInfo['limits'] {
  const { CpuPeriod, CpuQuota, Memory, NanoCpus, PidsLimit } = limits
  // Podman tells the quota of a period instead.
  const cpu = NanoCpus ? NanoCpus / 1e9 : CpuQuota && CpuQuota > 0 ? CpuQuota / (CpuPeriod || 100_000) : undefined
  return {
    ...(cpu === undefined ? {} : { cpuLimit: cpu }),
    ...(Memory ? { memoryLimitMiB: Memory / MIB - DAEMON_MEMORY_MIB } : {}),
    ...(PidsLimit && PidsLimit > 0 ? { pidsLimit: PidsLimit - DAEMON_PIDS } : {}),
  }
}
