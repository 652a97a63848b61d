import { AnyplaceError, unsupportedField } from '../../spec/index.ts'
import { EngineApiError } from './engine-api.ts'
import type { Connection } from './connection.ts'

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
async function sharedNetwork({ api }: Connection): Promise<string> {
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
 * The network mode of a sandbox: Docker's shared bridge, or a user-mode network of its own with Podman. Podman cannot stop
 * traffic inside a bridge, and its isolated bridges do not hold: listing networks through its Docker API makes Podman 4
 * forget the option, and ending one container removes the rule of all (netavark 1.4).
 *
 * @throws AnyplaceError `unsupported` where the engine cannot keep sandboxes apart
 */
export async function networkMode(connection: Connection, machineLabel: string): Promise<string> {
  if (connection.kind === 'docker') return sharedNetwork(connection)
  if (connection.userNetwork !== undefined) return connection.userNetwork
  throw unsupportedField(
    'network',
    true,
    `Podman on ${machineLabel}`,
    'without slirp4netns it cannot keep sandboxes apart',
    'Install slirp4netns, use rootless Podman 5, or open with network: false',
  )
}
