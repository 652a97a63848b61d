import { AnyplaceError } from '../../spec/index.ts'
import { EngineApiError } from './engine-api.ts'
import type { Connection } from './connection.ts'
import { LABEL } from './labels.ts'

const SHARED_NAME = 'anyplace'
const SHARED_LABEL = 'anyplace.network'
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

/**
 * Podman's network for one sandbox. Podman cannot stop traffic inside a bridge, so each sandbox has one of its own, shut off
 * from the others. It carries the sandbox's labels, so that gc finds it when the container is gone.
 */
export async function createIsolatedNetwork(
  { api }: Connection,
  id: string,
  labels: Readonly<Record<string, string>>,
): Promise<void> {
  await api.json('POST', '/v4.0.0/libpod/networks/create', {
    body: { name: isolatedNetworkName(id), driver: 'bridge', options: { isolate: 'true' }, labels, dns_enabled: false },
  })
}

/** Idempotent. */
export async function removeIsolatedNetwork({ api }: Connection, id: string): Promise<void> {
  await api
    .json('DELETE', `/v4.0.0/libpod/networks/${isolatedNetworkName(id)}`, { query: { force: 'true' } })
    .catch((error: unknown) => {
      if (!(error instanceof EngineApiError && error.statusCode === 404)) throw error
    })
}

/** Labels of the sandboxes whose own network is still there. */
export async function isolatedNetworks({ api }: Connection): Promise<readonly Readonly<Record<string, string>>[]> {
  const filters = JSON.stringify({ label: [LABEL.id] })
  const networks = (await api.json('GET', '/networks', { query: { filters } })) as readonly NetworkAnswer[]
  return networks.flatMap(({ Labels }) => (Labels?.[LABEL.id] === undefined ? [] : [Labels]))
}

/** The name that the network of a sandbox has. */
export function isolatedNetworkName(id: string): string {
  return `anyplace-${id}`
}
