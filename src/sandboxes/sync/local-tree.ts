import { lstatSync, readdirSync, readlinkSync, statSync } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import { resolve } from 'node:path'
import { throwIfAborted } from '../../kit/deadline.ts'
import { errnoOf, fileError } from '../../kit/file-error.ts'
import { systemPath } from '../../kit/system-path.ts'
import { bytesToText } from '../../kit/text-bytes.ts'
import { AnyplaceError } from '../../spec/index.ts'
import type { PathFilter } from './path-filter.ts'
import { SnapshotBuilder } from './tree-entry.ts'
import type { TreeEntry, TreeSnapshot } from './tree-entry.ts'

/** Directories walked before others get a turn. */
const TURN = 8

/**
 * A local tree as it is now. Links are not followed, but the named path itself may be one.
 *
 * @throws AnyplaceError `file-not-found`, `not-a-directory`, `permission-denied` (a directory that cannot be read is never
 *   taken for an empty one), `cancelled`
 */
export async function localTree(
  path: string,
  filter: PathFilter,
  signal: AbortSignal | undefined,
): Promise<TreeSnapshot> {
  const root = resolve(path)
  const builder = new SnapshotBuilder(filter)
  try {
    if (!statSync(systemPath(root)).isDirectory()) throw notDirectory(path)
    // What others have asked for before leaves first.
    await setImmediate()
    const todo = ['']
    for (let count = 1, prefix = todo.pop(); prefix !== undefined; count++, prefix = todo.pop()) {
      if (count % TURN === 0) {
        throwIfAborted(signal)
        await setImmediate()
      }
      for (const name of namesIn(`${root}/${prefix}`)) {
        const entry = entryOf(root, prefix + name)
        if (entry !== undefined && builder.add(entry) && entry.type === 'directory') todo.push(`${entry.path}/`)
      }
    }
  } catch (error) {
    throw fileError(error, 'read', path)
  }
  return builder
}

/** As bytes only where a name needs it, which takes longer. */
function namesIn(directory: string): readonly string[] {
  const path = systemPath(directory)
  const names = readdirSync(path)
  return names.some((name) => name.includes('\uFFFD')) ? readdirSync(path, 'buffer').map(bytesToText) : names
}

/** Undefined for what has vanished and for sockets, pipes and devices, which are in no copy. */
function entryOf(root: string, path: string): TreeEntry | undefined {
  const full = systemPath(`${root}/${path}`)
  try {
    const stats = lstatSync(full)
    const common = { path, mode: stats.mode & 0o777, modifiedMs: stats.mtimeMs, sizeBytes: 0 }
    if (stats.isFile()) return { ...common, type: 'file', sizeBytes: stats.size }
    if (stats.isDirectory()) return { ...common, type: 'directory' }
    if (!stats.isSymbolicLink()) return undefined
    return { ...common, type: 'symlink', target: bytesToText(readlinkSync(full, 'buffer')) }
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw error
  }
}

function notDirectory(path: string): AnyplaceError {
  return new AnyplaceError('not-a-directory', `${JSON.stringify(path)} is not a directory.`, {
    hint: 'sync makes trees alike; for one file use upload, download or `anyplace cp`',
  })
}
