import { AnyplaceError } from '../../spec/index.ts'
import type { CallOptions, Machine } from '../../spec/index.ts'
import { abortError, deadlineSignal, untilAborted } from '../../kit/deadline.ts'
import { EngineApi, EngineApiError } from './engine-api.ts'
import { findSockets } from './find-sockets.ts'
import type { EngineKind, SocketCandidate } from './find-sockets.ts'

/** What we need to know of an engine before we promise anything. Fields as the Engine API's /info names them. */
export interface EngineInfo {
  readonly NCPU: number
  readonly MemTotal: number
  readonly MemoryLimit: boolean
  readonly SwapLimit: boolean
  readonly CpuCfsQuota: boolean
  readonly PidsLimit: boolean
  readonly SecurityOptions: readonly string[] | null
}

/** An engine that answers and is what it was asked to be. */
export interface Connection {
  readonly api: EngineApi
  readonly kind: EngineKind
  readonly version: string
  readonly socket: SocketCandidate
  readonly info: EngineInfo
  /** The engine runs as an ordinary user: its root is that user. */
  readonly isRootless: boolean
  /** Podman: the network mode that gives each container a network of its own; undefined where none is installed. */
  readonly userNetwork: string | undefined
}

interface VersionAnswer {
  readonly Version?: string
  readonly Components?: readonly { readonly Name: string; readonly Version: string }[] | null
}

/** What only Podman's own API tells. */
interface PodmanInfo {
  readonly host?: {
    readonly pasta?: { readonly executable?: string }
    readonly slirp4netns?: { readonly executable?: string }
  }
}

/** A socket that accepts and then says nothing is not an engine. */
const PROBE_MS = 10_000

/**
 * Connects to the first socket where an engine of that kind answers.
 *
 * @throws AnyplaceError `engine-unavailable` with every socket that was tried and its reason
 */
export async function connectEngine(
  machine: Machine,
  kind: EngineKind,
  options: CallOptions & { readonly socket?: string | undefined } = {},
): Promise<Connection> {
  const { signal, socket } = options
  const candidates: readonly SocketCandidate[] =
    socket === undefined ? await findSockets(machine, kind, { signal }) : [{ path: socket, source: 'option socket' }]
  const faults: { readonly candidate: SocketCandidate; readonly why: string }[] = []
  for (const candidate of candidates) {
    const api = new EngineApi(machine, candidate.path)
    try {
      const deadline = deadlineSignal(PROBE_MS, signal)
      const [version, info, podman] = await untilAborted(
        Promise.all([
          api.json('GET', '/version', { signal: deadline }) as Promise<VersionAnswer>,
          api.json('GET', '/info', { signal: deadline }) as Promise<EngineInfo>,
          kind === 'podman' ? podmanInfo(api, deadline) : undefined,
        ]),
        deadline,
      )
      const found = version.Components?.some(({ Name }) => Name === 'Podman Engine') ? 'podman' : 'docker'
      if (found === kind) {
        const isRootless = info.SecurityOptions?.some((option) => option.includes('rootless')) ?? false
        const userNetwork =
          isRootless && podman?.host?.pasta?.executable
            ? 'pasta'
            : podman?.host?.slirp4netns?.executable
              ? 'slirp4netns'
              : undefined
        return { api, kind, version: version.Version ?? 'unknown', socket: candidate, info, isRootless, userNetwork }
      }
      api.close()
      faults.push({ candidate, why: `${TITLES[found]} answers there, not ${TITLES[kind]}` })
    } catch (error) {
      api.close()
      if (signal?.aborted) throw abortError(signal)
      faults.push({ candidate, why: reasonOf(error) })
    }
  }
  throw unavailable(machine, kind, faults)
}

async function podmanInfo(api: EngineApi, signal: AbortSignal): Promise<PodmanInfo | undefined> {
  try {
    return (await api.json('GET', '/v4.0.0/libpod/info', { signal })) as PodmanInfo
  } catch (error) {
    // Not Podman.
    if (error instanceof EngineApiError) return undefined
    throw error
  }
}

export const TITLES: Readonly<Record<EngineKind, string>> = { docker: 'Docker', podman: 'Podman' }

function reasonOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error)
  const code = systemCode(error)
  if (code === 'ENOENT') return 'no such socket'
  if (code === 'ECONNREFUSED') return 'nothing listens on it'
  if (code === 'EACCES' || code === 'EPERM') return 'permission denied'
  if (AnyplaceError.is(error, 'timeout')) return `no answer within ${PROBE_MS} ms`
  return message.replace(/\.$/, '')
}

function systemCode(error: unknown): string | undefined {
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    if ('code' in at && typeof at.code === 'string' && /^E[A-Z]+$/.test(at.code)) return at.code
  }
  return undefined
}

function unavailable(
  machine: Machine,
  kind: EngineKind,
  faults: readonly { readonly candidate: SocketCandidate; readonly why: string }[],
): AnyplaceError {
  const list = faults.map(({ candidate, why }) => {
    const source = candidate.source === 'default' ? '' : ` (${candidate.source})`
    return `${candidate.path}${source}: ${why}`
  })
  const denied = faults.some(({ why }) => why === 'permission denied')
  const other = faults.some(({ why }) => why.includes('answers there'))
  const hint = other
    ? `Use the engine ${kind === 'docker' ? 'podman' : 'docker'} instead, or point ${kind === 'docker' ? 'DOCKER_HOST' : 'CONTAINER_HOST'} to the socket of ${TITLES[kind]}`
    : denied
      ? kind === 'docker'
        ? 'Add this user to the group "docker" and log in again, or use rootless Docker'
        : 'Start it as this user: systemctl --user start podman.socket'
      : kind === 'docker'
        ? 'Start Docker, or set DOCKER_HOST to its socket'
        : 'Start its API: systemctl --user start podman.socket, or `podman system service --time 0 unix:///path` and set CONTAINER_HOST'
  return new AnyplaceError(
    'engine-unavailable',
    `${TITLES[kind]} does not answer on ${machine.label}; tried ${list.join('; ')}.`,
    { hint },
  )
}
