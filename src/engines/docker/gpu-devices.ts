import { AnyplaceError, unsupportedField } from '../../spec/index.ts'
import type { GpuRequest, MachineFacts } from '../../spec/index.ts'
import { TITLES } from './connection.ts'
import type { Connection } from './connection.ts'

/** A device request as the Engine API takes it. */
export interface DeviceRequest {
  readonly Driver: string
  readonly DeviceIDs: readonly string[]
  readonly Capabilities: readonly (readonly string[])[]
}

/**
 * The GPUs of a sandbox, by their index on the machine.
 *
 * @throws AnyplaceError `unsupported` when the machine has no such GPU or the engine cannot pass one on
 */
export function gpuDevices(
  gpu: GpuRequest | undefined,
  facts: MachineFacts,
  { kind }: Connection,
  machineLabel: string,
): readonly DeviceRequest[] {
  if (gpu === undefined) return []
  const { count = 1, type } = gpu
  if (!Number.isSafeInteger(count) || count < 1) {
    throw new AnyplaceError('invalid-argument', `gpu.count must be a whole number above 0 (got ${count}).`, {
      field: 'gpu',
    })
  }
  const where = `${TITLES[kind]} on ${machineLabel}`
  const matching = facts.gpus.flatMap((name, index) =>
    type === undefined || name.toLowerCase().includes(type.toLowerCase()) ? [String(index)] : [],
  )
  if (matching.length < count) {
    const has = facts.gpus.length === 0 ? 'it has no GPU' : `it has ${facts.gpus.join(', ')}`
    throw unsupportedField('gpu', gpu, where, has, 'Use a node with such a GPU, or leave gpu out')
  }
  if (kind === 'podman') {
    throw unsupportedField('gpu', gpu, where, 'its API ignores device requests', "Use 'local/docker'")
  }
  return [{ Driver: 'nvidia', DeviceIDs: matching.slice(0, count), Capabilities: [['gpu']] }]
}
