import { AnyplaceError } from '../../spec/index.ts'
import { readKey } from '../keys/key-records.ts'
import { toJson, withStore } from '../state.ts'
import type { StateOptions } from '../state.ts'
import { checkNode } from './check-node.ts'
import { readDefaultNode, writeDefaultNode } from './default-node.ts'
import { NODES, findNode, nodeInfo, readNode } from './node-records.ts'
import type { NodeConfig, NodeHealth, NodeInfo, NodeRecord } from './node-records.ts'

export interface AddNodeOptions extends StateOptions {
  /** Makes it the default node. @default false */
  readonly isDefault?: boolean | undefined
}

const BUILT_IN = 'local'

/**
 * Adds a node to those that `on` can name. Nothing is connected to; `testNode` does.
 *
 * @example
 * await addNode('gpu-box', { type: 'ssh', host: 'gpu.example.com', username: 'ann', key: 'work' })
 * @throws AnyplaceError `invalid-argument` that names the field, `already-exists`, `not-found` for a key that is not there
 */
export async function addNode(name: string, config: NodeConfig, options: AddNodeOptions = {}): Promise<NodeInfo> {
  const complete: NodeConfig =
    config.type === 'local' && config.workspace === undefined ? { ...config, workspace: process.cwd() } : config
  await checkNode(name, complete)
  const key = complete.type === 'ssh' ? complete.key : undefined
  return withStore(options, async (store) => {
    if (key !== undefined) await readKey(store, key)
    const record: NodeRecord = { config: complete, createdAt: new Date().toISOString() }
    const version = await store.compareAndSet(NODES, name, 0, toJson(record))
    if (version === undefined) {
      throw new AnyplaceError('already-exists', `There is a node named ${JSON.stringify(name)} already.`, {
        field: 'name',
        hint: `choose another name, or remove it: anyplace nodes rm ${name}`,
      })
    }
    try {
      // Again, now that whoever removes the key can see this node.
      if (key !== undefined) await readKey(store, key)
    } catch (error) {
      await store.delete(NODES, name, version)
      throw error
    }
    if (options.isDefault === true) writeDefaultNode(name, options)
    return nodeInfo(name, record, readDefaultNode(options))
  })
}

/** Every node: `local`, which is always there, then those that were added, in the order of their names. */
export async function listNodes(options: StateOptions = {}): Promise<NodeInfo[]> {
  return withStore(options, async (store) => {
    const chosen = readDefaultNode(options)
    const added = (await store.list(NODES)).map(({ key, value }) =>
      nodeInfo(key, value as unknown as NodeRecord, chosen),
    )
    return [builtIn(chosen === undefined), ...added]
  })
}

/**
 * One node.
 *
 * @throws AnyplaceError `not-found`
 */
export async function getNode(name: string, options: StateOptions = {}): Promise<NodeInfo> {
  const chosen = readDefaultNode(options)
  if (name === BUILT_IN) return builtIn(chosen === undefined)
  return withStore(options, async (store) => nodeInfo(name, (await readNode(store, name)).record, chosen))
}

/**
 * Chooses where work runs when neither `on` nor ANYPLACE_ON says so.
 *
 * @throws AnyplaceError `not-found`
 */
export async function setDefaultNode(name: string, options: StateOptions = {}): Promise<void> {
  if (name === BUILT_IN) return writeDefaultNode(undefined, options)
  await withStore(options, (store) => readNode(store, name))
  writeDefaultNode(name, options)
}

/**
 * Forgets a node. What runs there goes on; sandboxes are ended before, with `remove` or `gc`. If it was the default, `local`
 * is from now on.
 *
 * @throws AnyplaceError `not-found`; `invalid-argument` for `local`
 */
export async function removeNode(name: string, options: StateOptions = {}): Promise<void> {
  if (name === BUILT_IN) {
    throw new AnyplaceError('invalid-argument', 'The node "local" is always there.', {
      field: 'node',
      hint: 'choose another default: anyplace nodes default NAME',
    })
  }
  await withStore(options, async (store) => {
    if (!(await store.delete(NODES, name))) await readNode(store, name)
    if (readDefaultNode(options) === name) writeDefaultNode(undefined, options)
  })
}

/** Keeps what a test of a node said. Nothing happens for a node that is gone or built in. */
export async function saveHealth(name: string, health: NodeHealth, options: StateOptions = {}): Promise<void> {
  await change(
    name,
    (record) => ({ ...record, health: { ...health, checkedAt: health.checkedAt.toISOString() } }),
    options,
  )
}

/** Keeps what a probe of a node found. Nothing happens for a node that is gone or built in. */
export async function saveProbe(name: string, report: object, options: StateOptions = {}): Promise<void> {
  const probe = { at: new Date().toISOString(), report: toJson(report) }
  await change(name, (record) => ({ ...record, probe }), options)
}

async function change(name: string, changed: (record: NodeRecord) => object, options: StateOptions): Promise<void> {
  await withStore(options, async (store) => {
    for (;;) {
      const found = await findNode(store, name)
      if (found === undefined) return
      if ((await store.compareAndSet(NODES, name, found.version, toJson(changed(found.record)))) !== undefined) return
    }
  })
}

function builtIn(isDefault: boolean): NodeInfo {
  return { name: BUILT_IN, config: { type: 'local' }, isDefault, isBuiltIn: true }
}
