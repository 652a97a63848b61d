import { AnyplaceError } from '../../spec/index.ts'
import type { SyncChange } from './sync-options.ts'
import type { TreeEntry, TreeSnapshot } from './tree-entry.ts'

/** What makes the target like the source. */
export interface SyncPlan {
  /** Everything to move, parents before what is in them. */
  readonly moved: readonly SyncChange[]
  /** To be removed before the rest comes: a directory where a file will be, or the other way round. */
  readonly inTheWay: readonly SyncChange[]
  /** To be removed in the end, each with all that is in it. */
  readonly deleted: readonly SyncChange[]
  readonly files: number
  readonly bytes: number
  readonly unchanged: number
}

/**
 * Compares two trees by kind, size, time, permissions and the targets of links.
 *
 * @throws AnyplaceError `is-a-directory` or `not-a-directory` when one thing stands in the way of another and nothing may
 *   be deleted, or what is in it was left out of the sync
 */
export function planSync(source: TreeSnapshot, target: TreeSnapshot | undefined, mayDelete: boolean): SyncPlan {
  const moved: SyncChange[] = []
  const inTheWay: SyncChange[] = []
  let [files, bytes, unchanged] = [0, 0, 0]
  /** Directories of the target that go before the rest comes, so all below them is new. */
  const cleared = new Set<string>()
  for (const entry of source.entries.values()) {
    const isCleared = cleared.size > 0 && cleared.has(parentOf(entry.path))
    const existing = isCleared ? undefined : target?.entries.get(entry.path)
    if (isCleared && entry.type === 'directory') cleared.add(entry.path)
    if (existing !== undefined && isSame(entry, existing)) {
      if (entry.type !== 'directory') unchanged++
      continue
    }
    if (existing !== undefined && (existing.type === 'directory') !== (entry.type === 'directory')) {
      if (!mayDelete || target?.guarded.has(entry.path) === true) throw standsInTheWay(existing, mayDelete)
      inTheWay.push(change('delete', existing))
      if (entry.type === 'directory') cleared.add(entry.path)
    }
    moved.push(change(existing === undefined ? 'create' : 'update', entry))
    if (entry.type !== 'directory') files++
    bytes += entry.sizeBytes
  }
  moved.sort((first, second) => (first.path < second.path ? -1 : 1))
  return { moved, inTheWay, deleted: mayDelete ? surplus(source, target, inTheWay) : [], files, bytes, unchanged }
}

function isSame(entry: TreeEntry, existing: TreeEntry): boolean {
  if (entry.type !== existing.type) return false
  if (entry.type === 'symlink') return entry.target === existing.target
  if (entry.mode !== existing.mode) return false
  // A directory's own time says nothing about what is in it.
  if (entry.type === 'directory') return true
  return entry.sizeBytes === existing.sizeBytes && isSameTime(entry.modifiedMs, existing.modifiedMs)
}

/** Copies keep whole seconds, and the fraction of files that were written just before, which may be written again in the same one. */
function isSameTime(one: number, other: number): boolean {
  if (Math.abs(one - other) < 2) return true
  const isCut = one % 1000 === 0 || other % 1000 === 0
  return isCut && Math.floor(one / 1000) === Math.floor(other / 1000)
}

function surplus(
  source: TreeSnapshot,
  target: TreeSnapshot | undefined,
  inTheWay: readonly SyncChange[],
): SyncChange[] {
  const deleted: SyncChange[] = []
  const gone = new Set(inTheWay.map(({ path }) => path))
  for (const entry of target?.entries.values() ?? []) {
    if (gone.has(parentOf(entry.path))) {
      if (entry.type === 'directory') gone.add(entry.path)
    } else if (!source.entries.has(entry.path) && !(target?.guarded.has(entry.path) ?? false)) {
      deleted.push(change('delete', entry))
      if (entry.type === 'directory') gone.add(entry.path)
    }
  }
  return deleted
}

function parentOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')))
}

function change(action: SyncChange['action'], { type, path, sizeBytes }: TreeEntry): SyncChange {
  return { action, type, path, bytes: sizeBytes }
}

function standsInTheWay({ path, type }: TreeEntry, mayDelete: boolean): AnyplaceError {
  const [code, is, shall] =
    type === 'directory'
      ? (['is-a-directory', 'a directory', 'no directory'] as const)
      : (['not-a-directory', `a ${type}`, 'a directory'] as const)
  return new AnyplaceError(code, `${JSON.stringify(path)} is ${is} at the target and ${shall} at the source.`, {
    hint: mayDelete ? 'it holds something that is excluded: move that away' : 'remove it, or allow `delete`',
    data: { path },
  })
}
