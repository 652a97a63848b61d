import { AnyplaceError, DEFAULTS } from '../spec/index.ts'
import type { Lifetime } from '../spec/index.ts'
import { imageReferenceFault } from './image-reference.ts'
import { OPTION_FIELDS } from './open-options.ts'
import type { SandboxOptions } from './open-options.ts'
import { suggest } from './suggest.ts'
import {
  absolutePath,
  environment,
  flag,
  gpuRequest,
  labels,
  mounts,
  positiveNumber,
  sandboxName,
  userName,
  wholeNumber,
} from './field-checks.ts'
import type { FieldCheck } from './field-checks.ts'

const CHECKS: Readonly<Record<(typeof OPTION_FIELDS)[number], FieldCheck>> = {
  image: imageReferenceFault,
  cpu: positiveNumber,
  memoryMiB: wholeNumber,
  cpuLimit: positiveNumber,
  memoryLimitMiB: wholeNumber,
  pidsLimit: wholeNumber,
  slots: wholeNumber,
  gpu: gpuRequest,
  env: environment,
  mounts,
  workspace: absolutePath,
  workdir: absolutePath,
  user: userName,
  network: flag,
  name: sandboxName,
  detached: flag,
  labels,
  secrets: environment,
  volumes: () => undefined,
  timeoutMs: wholeNumber,
  maxLifetimeMs: wholeNumber,
  idleTimeoutMs: wholeNumber,
  signal: (value) => (value instanceof AbortSignal ? undefined : 'must be an AbortSignal'),
  onProgress: (value) => (typeof value === 'function' ? undefined : 'must be a function'),
}

/**
 * Checks everything that was given and tells all faults at once.
 *
 * @throws AnyplaceError `invalid-argument` that names every wrong field; `unsupported` for volumes and vault secrets
 */
export function checkOptions(options: SandboxOptions): void {
  const faults: { field: string; message: string }[] = []
  for (const [field, value] of Object.entries(options)) {
    if (value === undefined) continue
    if (!Object.hasOwn(CHECKS, field)) {
      const meant = suggest(field, OPTION_FIELDS)
      faults.push({
        field,
        message: `${JSON.stringify(field)} is not an option${meant ? ` (did you mean ${meant}?)` : ''}`,
      })
      continue
    }
    const fault = CHECKS[field as keyof typeof CHECKS](value)
    if (fault !== undefined) faults.push({ field, message: `${field} ${fault}` })
  }
  if (faults.length === 0) faults.push(...crossFaults(options))
  const first = faults[0]
  if (first !== undefined) {
    const text = faults.map((fault) => fault.message).join('; ')
    const count = faults.length === 1 ? '' : `${faults.length} options are wrong: `
    throw new AnyplaceError('invalid-argument', `Cannot open a sandbox: ${count}${text}`, { field: first.field })
  }
  refuseNotYet(options)
}

/** The lifetime with its defaults. A given maximum below the default timeout shortens it. */
export function lifetimeOf(options: SandboxOptions): Lifetime {
  const timeoutMs = options.timeoutMs ?? Math.min(DEFAULTS.timeoutMs, options.maxLifetimeMs ?? DEFAULTS.timeoutMs)
  return {
    timeoutMs,
    maxLifetimeMs: options.maxLifetimeMs ?? timeoutMs,
    ...(options.idleTimeoutMs === undefined ? {} : { idleTimeoutMs: options.idleTimeoutMs }),
  }
}

function crossFaults(options: SandboxOptions): { field: string; message: string }[] {
  const faults: { field: string; message: string }[] = []
  const { timeoutMs, maxLifetimeMs } = options
  if (timeoutMs !== undefined && maxLifetimeMs !== undefined && timeoutMs > maxLifetimeMs) {
    faults.push({ field: 'timeoutMs', message: `timeoutMs ${timeoutMs} is longer than maxLifetimeMs ${maxLifetimeMs}` })
  }
  for (const [need, cap] of [
    ['cpu', 'cpuLimit'],
    ['memoryMiB', 'memoryLimitMiB'],
  ] as const) {
    const needed = options[need]
    const limit = options[cap]
    if (needed !== undefined && limit !== undefined && needed > limit) {
      faults.push({ field: need, message: `${need} ${needed} is above ${cap} ${limit}` })
    }
  }
  const twice = Object.keys(options.secrets ?? {}).find((name) => Object.hasOwn(options.env ?? {}, name))
  if (twice !== undefined) faults.push({ field: 'secrets', message: `${twice} is given in env and in secrets` })
  return faults
}

function refuseNotYet(options: SandboxOptions): void {
  if (options.volumes !== undefined) {
    throw new AnyplaceError('unsupported', 'Cannot open a sandbox: volumes are not supported yet', {
      field: 'volumes',
      hint: 'mount a directory with mounts, or move files with files.upload and files.download',
    })
  }
}
