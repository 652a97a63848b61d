import type { CallOptions, GpuRequest, Machine, MachineFacts } from '../../spec/index.ts'

const SHARED = ['nvidiactl', 'nvidia-uvm', 'nvidia-uvm-tools', 'nvidia-modeset']

/** Files below /dev that the asked-for GPUs need: as many devices as asked for, and the driver's own. None without a request. */
export async function gpuDevices(
  machine: Machine,
  facts: MachineFacts,
  gpu: GpuRequest | undefined,
  options: CallOptions,
): Promise<readonly string[]> {
  if (gpu === undefined) return []
  const names = await machine.listDirectory('/dev', options)
  const numbered = names
    .filter((name) => /^nvidia\d+$/.test(name))
    .toSorted((one, other) => Number(one.slice(6)) - Number(other.slice(6)))
  const wanted = gpu.type?.toLowerCase()
  const fitting = numbered.filter(
    (_name, index) => wanted === undefined || (facts.gpus[index] ?? '').toLowerCase().includes(wanted),
  )
  return [...fitting.slice(0, gpu.count ?? 1), ...SHARED.filter((name) => names.includes(name))]
}
