import { AnyplaceError, unsupportedField } from '../../spec/index.ts'
import type { MachineFacts, SandboxSpec } from '../../spec/index.ts'

/**
 * What a sandbox needs of the machine must be there.
 *
 * @throws AnyplaceError `unsupported` for cpu or memoryMiB above the machine's total, or a GPU that is not there
 */
export function checkNeeds(spec: SandboxSpec, facts: MachineFacts, where: string): void {
  const { cpu, gpu, memoryMiB } = spec
  if (cpu !== undefined && cpu > facts.cpuCount)
    throw unsupportedField(
      'cpu',
      cpu,
      where,
      `the machine has ${facts.cpuCount}`,
      'ask for less or use a node with more',
    )
  if (memoryMiB !== undefined && memoryMiB > facts.memoryMiB)
    throw unsupportedField(
      'memoryMiB',
      memoryMiB,
      where,
      `the machine has ${facts.memoryMiB} MiB`,
      'ask for less or use a node with more',
    )
  if (gpu === undefined) return
  const wanted = gpu.type?.toLowerCase()
  const fitting = facts.gpus.filter((name) => wanted === undefined || name.toLowerCase().includes(wanted))
  const count = gpu.count ?? 1
  if (fitting.length < count)
    throw unsupportedField(
      'gpu',
      gpu,
      where,
      facts.gpus.length === 0 ? 'this machine has no GPU' : `this machine has ${facts.gpus.join(', ')}`,
      'leave out gpu, or use a node that has it',
    )
}

/** An absolute path without `.`, `..` and doubled slashes. @throws AnyplaceError `invalid-argument` that names the field */
export function checkAbsolute(path: string, field: string): string {
  const clean = path.startsWith('/') && !path.includes('\0') && path.split('/').every((part) => part !== '..')
  if (!clean)
    throw new AnyplaceError(
      'invalid-argument',
      `${field} must be an absolute path without "..", got ${JSON.stringify(path)}.`,
      {
        field,
      },
    )
  return `/${path
    .split('/')
    .filter((part) => part !== '' && part !== '.')
    .join('/')}`
}
