import { AnyplaceError } from '../../spec/index.ts'
import type { CallOptions, HostInfo } from '../../spec/index.ts'
import { EngineApiError } from './engine-api.ts'
import type { Connection } from './connection.ts'
import { LABEL, factsOf, storedConfig } from './labels.ts'
import { limitsInForce } from './limits.ts'

/** A container as the engine's inspect tells it; only what we use. */
export interface ContainerState {
  readonly Id: string
  readonly Config: { readonly Image: string; readonly Labels: Readonly<Record<string, string>> | null }
  readonly State: {
    readonly Status: string
    readonly Running: boolean
    readonly OOMKilled: boolean
    readonly ExitCode: number
    readonly Error?: string
    readonly FinishedAt: string
  }
  readonly HostConfig: {
    readonly NetworkMode: string
    readonly PidsLimit?: number | null
    readonly Memory?: number | null
    readonly NanoCpus?: number | null
    readonly CpuQuota?: number | null
    readonly CpuPeriod?: number | null
  }
}

/** The container, or undefined when there is none. */
export async function inspectContainer(
  { api }: Connection,
  containerId: string,
  options: CallOptions = {},
): Promise<ContainerState | undefined> {
  try {
    return (await api.json('GET', `/containers/${containerId}/json`, { signal: options.signal })) as ContainerState
  } catch (error) {
    if (error instanceof EngineApiError && error.statusCode === 404) return undefined
    throw error
  }
}

/** A container with our labels in one list of all; `filter` is a label, with or without a value. */
export async function findContainers(
  { api }: Pick<Connection, 'api'>,
  filter: string,
  options: CallOptions = {},
): Promise<
  readonly { readonly Id: string; readonly State: string; readonly Labels: Readonly<Record<string, string>> }[]
> {
  const filters = JSON.stringify({ label: [filter] })
  return (await api.json('GET', '/containers/json', {
    query: { all: 'true', filters },
    signal: options.signal,
  })) as Awaited<ReturnType<typeof findContainers>>
}

/** What the platform knows of a sandbox. */
export function hostInfoOf(state: ContainerState, connection: Connection, provider: string): HostInfo {
  const labels = state.Config.Labels ?? {}
  const { Status } = state.State
  const ended = !state.State.Running && Status !== 'created' && Status !== 'configured' && Status !== 'initialized'
  let workdir = ''
  let image = state.Config.Image
  try {
    ;({ image, workdir } = storedConfig(labels))
  } catch {
    // Made by another version; gc must see it all the same.
  }
  return {
    ...factsOf(labels),
    provider,
    engine: connection.kind,
    state: ended ? 'exited' : state.State.Running ? 'running' : 'starting',
    isolation: 'container',
    limits: limitsInForce(state.HostConfig),
    network: state.HostConfig.NetworkMode === 'none' ? 'none' : 'own',
    image,
    workdir,
    reason: ended ? endReason(state) : undefined,
  }
}

/** Why a container that ran has ended, in words. */
export function endReason(state: ContainerState): string {
  const { Error: fault, ExitCode, FinishedAt, OOMKilled } = state.State
  const labels = state.Config.Labels ?? {}
  if (OOMKilled && ExitCode !== 0) return 'its memory ran out'
  if (fault) return fault
  const finished = new Date(FinishedAt).getTime()
  try {
    if (ExitCode === 0 && finished >= storedConfig(labels).expiresAtMs - 1000) return 'its lifetime was over'
  } catch {
    if (finished >= new Date(labels[LABEL.expires] ?? 0).getTime() - 1000) return 'its lifetime was over'
  }
  return ExitCode === 0 ? 'its exec daemon ended' : `its first process ended with code ${ExitCode}`
}

/** `sandbox-gone`, with the reason as far as it is known: the engine removes a container as soon as it has ended. */
export function sandboxGone(name: string, state: ContainerState | undefined, expiresAtMs: number): AnyplaceError {
  const why =
    state !== undefined && !state.State.Running
      ? endReason(state)
      : Date.now() >= expiresAtMs
        ? 'its lifetime was over'
        : 'it was removed, or its exec daemon ended'
  return new AnyplaceError('sandbox-gone', `Sandbox ${JSON.stringify(name)} has ended: ${why}.`, {
    hint: 'Open a new one; timeoutMs and maxLifetimeMs say how long it lives',
  })
}
