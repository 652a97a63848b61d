import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { AnyplaceError } from '../spec/index.ts'
import type { Provider } from '../spec/index.ts'
import { suggest } from '../sandboxes/suggest.ts'
import { stateDirectory } from '../store/state-directory.ts'
import { readDefaultNode } from './registry/default-node.ts'
import type { NodeConfig } from './registry/node-records.ts'
import { NODE_TYPES, hasEngine } from './registry/node-types.ts'
import { slotSecurityOf } from './registry/slot-security.ts'
import type { EngineName } from './registry/node-types.ts'

const BUILT_IN = 'local'

/** Where work runs, resolved. */
export interface ResolvedNode {
  /** As written: `local`, `local/docker`, `gpu-box`. */
  readonly on: string
  /** The node's own name, without an engine. */
  readonly name: string
  readonly provider: Provider
  readonly engine: string | undefined
  readonly config: NodeConfig
}

/** Providers by what they were made of: one holds connections, so the same node gets the same one again. */
const loaded = new Map<string, Promise<Provider>>()

/** Every value that `on` can have whatever was added. */
export function nodeNames(): readonly string[] {
  return [BUILT_IN, ...NODE_TYPES.local.map((engine) => `${BUILT_IN}/${engine}`)]
}

/**
 * What `on` names: a value given, else the environment variable ANYPLACE_ON, else the default node, else `local`. A node
 * that was added stands by its name, with an engine behind a slash where one is wanted: `gpu-box`, `gpu-box/docker`.
 *
 * @throws AnyplaceError `not-found` that names what there is
 */
export async function resolveNode(on?: string): Promise<ResolvedNode> {
  const fromEnv = on === undefined ? process.env['ANYPLACE_ON'] || undefined : undefined
  const chosen = on === undefined && fromEnv === undefined ? readDefaultNode() : undefined
  const wanted: unknown = on ?? fromEnv ?? chosen ?? BUILT_IN
  if (typeof wanted !== 'string') {
    throw new AnyplaceError('invalid-argument', `on must be a node's name (got ${typeof wanted}).`, { field: 'on' })
  }
  const source = fromEnv !== undefined ? 'from ANYPLACE_ON' : chosen !== undefined ? 'the default node' : undefined
  const { name, config, engine } = await find(wanted, source)
  return { on: wanted, name, provider: await load(name, config, engine), engine, config }
}

interface Found {
  readonly name: string
  readonly config: NodeConfig
  readonly engine: EngineName | undefined
}

async function find(wanted: string, source: string | undefined): Promise<Found> {
  const slash = wanted.indexOf('/')
  const name = slash < 0 ? wanted : wanted.slice(0, slash)
  const asked = slash < 0 ? undefined : wanted.slice(slash + 1)
  const config: NodeConfig | undefined = name === BUILT_IN ? { type: 'local' } : await readConfig(name)
  if (config === undefined || (asked !== undefined && !hasEngine(config.type, asked))) {
    throw await unknownNode(wanted, source)
  }
  return { name, config, engine: asked ?? config.engine }
}

/** The store is opened only when there is one: that costs more than all the rest of a command's start. */
async function readConfig(name: string): Promise<NodeConfig | undefined> {
  if (!existsSync(join(stateDirectory(), 'anyplace.db'))) return undefined
  const [{ withStore }, { findNode }] = await Promise.all([import('./state.ts'), import('./registry/node-records.ts')])
  return withStore({}, async (store) => (await findNode(store, name))?.record.config)
}

function load(name: string, config: NodeConfig, engine: EngineName | undefined): Promise<Provider> {
  const key = JSON.stringify([stateDirectory(), name, config, engine])
  let provider = loaded.get(key)
  if (provider === undefined) {
    provider = make(name, config, engine)
    loaded.set(key, provider)
    provider.catch(() => loaded.delete(key))
  }
  return provider
}

async function make(name: string, config: NodeConfig, engine: EngineName | undefined): Promise<Provider> {
  const options = { engine, slotSecurity: slotSecurityOf(config) }
  if (config.type === 'local') return (await import('../providers/local/index.ts')).localProvider(options)
  const [{ sshProvider }, { sshTargetOf }] = await Promise.all([
    import('../providers/ssh/index.ts'),
    import('./registry/ssh-target-of.ts'),
  ])
  return sshProvider(sshTargetOf(name, config), options)
}

async function unknownNode(wanted: string, source: string | undefined): Promise<AnyplaceError> {
  const added = existsSync(join(stateDirectory(), 'anyplace.db'))
    ? (await (await import('./registry/nodes.ts')).listNodes()).filter(({ isBuiltIn }) => !isBuiltIn)
    : []
  const engines = added.flatMap(({ name, config }) => NODE_TYPES[config.type].map((engine) => `${name}/${engine}`))
  const names = [...nodeNames(), ...added.map(({ name }) => name)]
  const meant = suggest(wanted, [...names, ...engines])
  const hint =
    meant !== undefined
      ? `did you mean ${meant}?`
      : source === 'the default node'
        ? 'choose another one: anyplace nodes default NAME'
        : 'choose one of them, or add one: anyplace nodes add NAME --host HOST'
  return new AnyplaceError(
    'not-found',
    `No node named ${JSON.stringify(wanted)}${source === undefined ? '' : ` (${source})`}; there are ${names.join(', ')}.`,
    { field: 'on', hint },
  )
}
