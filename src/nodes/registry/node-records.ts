import { AnyplaceError } from '../../spec/index.ts'
import { suggest } from '../../sandboxes/suggest.ts'
import type { JsonValue, Store } from '../../store/store.ts'
import type { EngineName } from './node-types.ts'

/** What every node may say. */
interface CommonNodeConfig {
  /**
   * Docker: a seccomp profile, an absolute path on this computer, for containers that hold slots. It lets slots have level
   * `namespace`; docs/slots.md shows how to make one and what it costs. @default the engine's own, and level `user`
   */
  readonly slotSeccompProfile?: string | undefined
  /** Beside it, where Docker uses AppArmor: a profile loaded there, or `unconfined`. @default the engine's own, which refuses mount */
  readonly slotAppArmorProfile?: string | undefined
}

/** A node on this computer. */
export interface LocalNodeConfig extends CommonNodeConfig {
  readonly type: 'local'
  /** @default chosen at each open */
  readonly engine?: EngineName | undefined
  /** Directory of the node's workspaces on this computer, absolute. @default the directory where the node was added */
  readonly workspace?: string | undefined
}

/** A host behind SSH. */
export interface SshNodeConfig extends CommonNodeConfig {
  readonly type: 'ssh'
  /** A host name, an address, or an alias of the user's ssh config. */
  readonly host: string
  /** @default what the ssh config says, else 22 */
  readonly port?: number | undefined
  /** @default what the ssh config says, else the local user's name */
  readonly username?: string | undefined
  /** Name of a key that Anyplace keeps. @default whatever the user's own ssh would use */
  readonly key?: string | undefined
  /** A private key file, absolute, instead of a key that Anyplace keeps. */
  readonly identityFile?: string | undefined
  /** Directory of our sandboxes on the host. @default '~/.anyplace' */
  readonly workspace?: string | undefined
  /** How the host isolates: `direct`, `namespace`, `docker`, `podman`. @default chosen at each open */
  readonly engine?: EngineName | undefined
  /** Hosts to go through, the first one first: `user@host:port` or aliases of the ssh config. @default what the ssh config says */
  readonly jumpHosts?: readonly string[] | undefined
  /** Take an unknown host's key at first sight and pin it. A changed key is always refused. @default false */
  readonly acceptNewHostKey?: boolean | undefined
  /** The OpenSSH configuration to read, absolute. @default the user's own and the system's */
  readonly configFile?: string | undefined
  /** How long connecting may take. @default 20_000 */
  readonly connectTimeoutMs?: number | undefined
  /** An unused connection is closed after this. @default 300_000 */
  readonly idleCloseMs?: number | undefined
}

/** How a node is reached, by its type. */
export type NodeConfig = LocalNodeConfig | SshNodeConfig

/** What the last test of a node said. */
export interface NodeHealth {
  readonly state: 'ok' | 'failing'
  readonly checkedAt: Date
  /** What failed. */
  readonly message?: string | undefined
}

/** A named, configured place to run. */
export interface NodeInfo {
  readonly name: string
  readonly config: NodeConfig
  /** Where work runs when nothing else is said. */
  readonly isDefault: boolean
  /** True for `local`, which is always there. */
  readonly isBuiltIn: boolean
  /** Missing until the node was tested. */
  readonly health?: NodeHealth | undefined
  /** What the last probe found, and when. */
  readonly probe?: { readonly at: Date; readonly report: JsonValue } | undefined
  readonly createdAt?: Date | undefined
}

/** As the store keeps it. */
export interface NodeRecord {
  readonly config: NodeConfig
  readonly createdAt: string
  readonly health?: { readonly state: 'ok' | 'failing'; readonly checkedAt: string; readonly message?: string }
  readonly probe?: { readonly at: string; readonly report: JsonValue }
}

/** The namespace of the store that holds nodes. */
export const NODES = 'nodes'

/** Undefined when there is none. */
export async function findNode(
  store: Store,
  name: string,
): Promise<{ readonly record: NodeRecord; readonly version: number } | undefined> {
  const entry = await store.get(NODES, name)
  return entry === undefined ? undefined : { record: entry.value as unknown as NodeRecord, version: entry.version }
}

/** @throws AnyplaceError `not-found` that says what there is */
export async function readNode(
  store: Store,
  name: string,
): Promise<{ readonly record: NodeRecord; readonly version: number }> {
  const found = await findNode(store, name)
  if (found !== undefined) return found
  const names = (await store.list(NODES)).map(({ key }) => key)
  const meant = suggest(name, names)
  throw new AnyplaceError('not-found', `No node named ${JSON.stringify(name)} was added.`, {
    field: 'node',
    hint:
      meant !== undefined
        ? `did you mean ${meant}?`
        : names.length === 0
          ? 'add one: anyplace nodes add NAME --host HOST'
          : `there are ${names.join(', ')}`,
  })
}

/** Names of the nodes that log in with a key. */
export async function nodesWithKey(store: Store, key: string): Promise<readonly string[]> {
  const entries = await store.list(NODES)
  return entries
    .filter(({ value }) => {
      const { config } = value as unknown as NodeRecord
      return config.type === 'ssh' && config.key === key
    })
    .map((entry) => entry.key)
}

export function nodeInfo(name: string, record: NodeRecord, defaultName: string | undefined): NodeInfo {
  const { config, createdAt, health, probe } = record
  return {
    name,
    config,
    isDefault: name === defaultName,
    isBuiltIn: false,
    createdAt: new Date(createdAt),
    ...(health === undefined ? {} : { health: { ...health, checkedAt: new Date(health.checkedAt) } }),
    ...(probe === undefined ? {} : { probe: { ...probe, at: new Date(probe.at) } }),
  }
}
