import { posix } from 'node:path'
import process from 'node:process'
import { attachSandbox } from '../sandboxes/attach-sandbox.ts'
import { openSandbox } from '../sandboxes/open-sandbox.ts'
import type { Sandbox } from '../sandboxes/sandbox.ts'
import type { SyncOptions, SyncResult } from '../sandboxes/sync/sync-options.ts'
import { AnyplaceError } from '../spec/index.ts'
import { resolveNode } from './resolve-node.ts'
import type { ResolvedNode } from './resolve-node.ts'

/** A tree somewhere else: of a sandbox, or of the machine behind a node. */
export interface TreePlace {
  /** Name or id of a sandbox; left out, the machine itself is meant, where relative paths start at the node's workspace. */
  readonly sandbox?: string | undefined
  /** The node. @default ANYPLACE_ON, else the default node */
  readonly on?: string | undefined
  readonly path: string
}

/** A sync without commands needs no long life; after a crash of ours the place is removed by then. */
const LIFETIME_MS = 24 * 3_600_000

/**
 * Makes a tree elsewhere like a local one; see {@link Sync.up} for what is done and how it fails.
 *
 * @throws AnyplaceError also `not-found` for an unknown node, `sandbox-not-found`, `unsupported` for a node that is no machine
 */
export function syncUp(localPath: string, place: TreePlace, options: SyncOptions = {}): Promise<SyncResult> {
  return withBox(place, options.signal, (box, path) => box.sync.up(localPath, path, options))
}

/** Makes a local tree like one elsewhere; see {@link Sync.down}. Fails as {@link syncUp}. */
export function syncDown(place: TreePlace, localPath: string, options: SyncOptions = {}): Promise<SyncResult> {
  return withBox(place, options.signal, (box, path) => box.sync.down(path, localPath, options))
}

/** True when `on` names a node, with or without an engine. */
export async function isNode(name: string): Promise<boolean> {
  try {
    await resolveNode(name)
    return true
  } catch (error) {
    if (AnyplaceError.is(error, 'not-found')) return false
    throw error
  }
}

async function withBox<T>(
  { on, path, sandbox }: TreePlace,
  signal: AbortSignal | undefined,
  work: (box: Sandbox, path: string) => Promise<T>,
): Promise<T> {
  const node = await resolveNode(on)
  if (sandbox !== undefined) {
    const box = await attachSandbox(node, sandbox, { signal })
    try {
      return await work(box, path)
    } finally {
      await box.detach()
    }
  }
  const target = await absolute(node, path, signal)
  // No isolation is wanted here: it is the machine's own files that are meant.
  const { provider } = await resolveNode(`${node.on.split('/')[0] ?? ''}/direct`)
  await using box = await openSandbox({ provider, engine: 'direct' }, { timeoutMs: LIFETIME_MS, signal })
  return await work(box, target)
}

async function absolute(
  { config, on, provider }: ResolvedNode,
  path: string,
  signal: AbortSignal | undefined,
): Promise<string> {
  if (provider.machine === undefined) {
    throw new AnyplaceError('unsupported', `Node ${JSON.stringify(on)} is no machine with files of its own.`, {
      field: 'on',
      hint: 'open a sandbox on it and sync with that',
    })
  }
  const facts = await (await provider.machine({ signal })).facts({ signal })
  if (path === '~' || path.startsWith('~/')) return posix.join(facts.homeDirectory, path.slice(1))
  const base = config.type === 'local' ? (config.workspace ?? process.cwd()) : facts.stateDirectory
  return posix.resolve(base, path)
}
