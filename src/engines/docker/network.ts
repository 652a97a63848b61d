import { AnyplaceError } from '../../spec/index.ts'
import { newId } from '../../kit/ids.ts'
import { EngineApiError } from './engine-api.ts'
import type { EngineApi } from './engine-api.ts'
import type { Connection } from './connection.ts'
import { findContainers } from './container-state.ts'
import { LABEL } from './labels.ts'

const SHARED_NAME = 'anyplace'
const SHARED_LABEL = 'anyplace.network'
const PASSING_LABEL = 'anyplace.passing'
const ICC = 'com.docker.network.bridge.enable_icc'

interface NetworkAnswer {
  readonly Id: string
  readonly Name: string
  readonly Created: string
  readonly Options?: Readonly<Record<string, string>> | null
  readonly Labels?: Readonly<Record<string, string>> | null
}

/**
 * Docker's network for sandboxes: one bridge on which they cannot reach each other. Made when it is missing; clients that do
 * so at the same moment agree on one. Gives its id, since two networks may have one name.
 *
 * @throws AnyplaceError `conflict` when a network of that name is somebody else's
 */
export async function sharedNetwork({ api }: Connection): Promise<string> {
  let found = await findShared()
  if (found.length === 0) {
    try {
      await api.json('POST', '/networks/create', {
        body: {
          Name: SHARED_NAME,
          CheckDuplicate: true,
          Driver: 'bridge',
          Options: { [ICC]: 'false' },
          Labels: { [SHARED_LABEL]: '1' },
        },
      })
    } catch (error) {
      // Another client was first.
      if (!(error instanceof EngineApiError && error.statusCode === 409)) throw error
    }
    found = await findShared()
  }
  const [first, ...extra] = found
  if (first === undefined) throw new AnyplaceError('internal', `Network "${SHARED_NAME}" was made but is not there.`)
  if (first.Labels?.[SHARED_LABEL] === undefined || first.Options?.[ICC] !== 'false') {
    throw new AnyplaceError('conflict', `Docker has a network "${SHARED_NAME}" that Anyplace did not make.`, {
      hint: `Rename it, or remove it with: docker network rm ${SHARED_NAME}`,
    })
  }
  // Old engines may let two equal ones through; everybody keeps the oldest. One in use cannot be removed.
  await Promise.all(extra.map(({ Id }) => api.json('DELETE', `/networks/${Id}`).catch(() => undefined)))
  return first.Id

  async function findShared(): Promise<readonly NetworkAnswer[]> {
    const filters = JSON.stringify({ name: [SHARED_NAME] })
    const networks = (await api.json('GET', '/networks', { query: { filters } })) as readonly NetworkAnswer[]
    return networks
      .filter(({ Name }) => Name === SHARED_NAME)
      .toSorted((a, b) => a.Created.localeCompare(b.Created) || a.Id.localeCompare(b.Id))
  }
}

/** What a container is attached to. */
export interface ContainerNetwork {
  /** Id, name, or `none`. */
  readonly name: string
  /** Address to take there; the engine refuses a second container with it. */
  readonly address?: string | undefined
}

interface PodmanNetwork {
  readonly name: string
  readonly options?: Readonly<Record<string, string>> | null
  readonly subnets?: readonly { readonly subnet: string; readonly gateway?: string }[]
}

/** Networks that opens of this process hold until their container runs, by socket. */
const held = new Map<string, Set<string>>()

/**
 * A network that no other sandbox is on, made when all are in use. Podman cannot stop traffic inside a bridge, so each
 * sandbox has one to itself, shut off from the others; it is used again later. Everybody takes the same address on it, so
 * that of two clients that choose the same one at once the engine refuses the second: {@link isNetworkTaken}.
 *
 * `release` it once the container runs or is gone.
 */
export async function ownNetwork({ api }: Connection): Promise<ContainerNetwork & { readonly release: () => void }> {
  const mine = held.get(api.socketPath) ?? new Set()
  held.set(api.socketPath, mine)
  const [networks, containers] = await Promise.all([
    api.json('GET', '/v4.0.0/libpod/networks/json', {
      query: { filters: JSON.stringify({ label: [SHARED_LABEL] }) },
    }) as Promise<readonly PodmanNetwork[]>,
    findContainers({ api }, LABEL.id),
  ])
  const used = new Set(containers.map(({ Labels }) => Labels[LABEL.network]))
  const isFree = (name: string): boolean => !used.has(name) && !mine.has(name)
  let chosen = networks.find(({ name }) => isFree(name))
  let name = chosen?.name
  for (let number = 1; name === undefined; number++) {
    const next = `${SHARED_NAME}-${number}`
    if (isFree(next)) name = next
  }
  // Taken before anything is awaited, so that opens of this process never choose the same.
  mine.add(name)
  try {
    chosen ??= await makeOwn(api, name)
    if (!isShutOff(chosen)) await reload({ api }, name)
    const subnet = chosen.subnets?.find((one) => one.subnet.includes('.'))
    const gateway = subnet?.gateway?.split('.').map(Number)
    if (gateway?.length !== 4) throw new AnyplaceError('internal', `Network ${name} has no IPv4 gateway.`)
    const address = [...gateway.slice(0, 3), (gateway[3] ?? 0) + 1].join('.')
    return { name, address, release: () => mine.delete(name) }
  } catch (error) {
    mine.delete(name)
    throw error
  }
}

/**
 * Podman 4 forgets the options of all networks as soon as anybody lists them through Docker's API, and then starts
 * containers without the isolation that the network has on disk. So it is asked before and after a start.
 */
export async function keepsIsolation({ api }: Pick<Connection, 'api'>, name: string): Promise<boolean> {
  return isShutOff((await api.json('GET', `/v4.0.0/libpod/networks/${name}/json`)) as PodmanNetwork)
}

function isShutOff({ options }: PodmanNetwork): boolean {
  return options?.['isolate'] === 'true'
}

/** Podman reads its networks from disk again when their directory has changed. */
async function reload({ api }: Pick<Connection, 'api'>, name: string): Promise<void> {
  const passing = `${name}-reload-${newId()}`
  await api.json('POST', '/v4.0.0/libpod/networks/create', {
    body: { name: passing, driver: 'bridge', labels: { [PASSING_LABEL]: '1' }, dns_enabled: false },
  })
  await api.json('DELETE', `/v4.0.0/libpod/networks/${passing}`)
}

/** Another client took the network between our choice and the start. */
export function isNetworkTaken(error: EngineApiError): boolean {
  return /already (allocated|in use|used)|IPAM|requested ip address/i.test(error.message) && !/name/.test(error.message)
}

async function makeOwn(api: EngineApi, name: string): Promise<PodmanNetwork> {
  try {
    return (await api.json('POST', '/v4.0.0/libpod/networks/create', {
      body: {
        name,
        driver: 'bridge',
        options: { isolate: 'true' },
        labels: { [SHARED_LABEL]: '1' },
        dns_enabled: false,
      },
    })) as PodmanNetwork
  } catch (error) {
    // Another client made it first.
    if (!(error instanceof EngineApiError && (error.statusCode === 409 || /already (exists|used)/.test(error.message))))
      throw error
    return (await api.json('GET', `/v4.0.0/libpod/networks/${name}/json`)) as PodmanNetwork
  }
}
