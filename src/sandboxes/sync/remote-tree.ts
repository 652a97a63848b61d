import { AnyplaceError } from '../../spec/index.ts'
import type { FileInfo, Files } from '../../spec/index.ts'
import type { PathFilter } from './path-filter.ts'
import { SnapshotBuilder } from './tree-entry.ts'
import type { TreeSnapshot } from './tree-entry.ts'

const MAX_ENTRIES = 2_000_000
/** A part of the path that is empty, `.` or `..`. */
const LEADS_OUT = /(?:^|\/)\.{0,2}(?:\/|$)/

/**
 * A tree of the sandbox as it is now; undefined when it is not there. The sandbox is not trusted: a path that would lead
 * out of the tree ends the sync.
 *
 * @throws AnyplaceError `not-a-directory`, `permission-denied` (a directory that cannot be read is never taken for an
 *   empty one), `protocol-error`, `resource-exhausted`
 */
export async function remoteTree(
  files: Files,
  path: string,
  filter: PathFilter,
  signal: AbortSignal | undefined,
): Promise<TreeSnapshot | undefined> {
  const listing = await files
    .list(path, { recursive: true, maxEntries: MAX_ENTRIES, signal })
    .catch((error: unknown) => {
      if (AnyplaceError.is(error, 'file-not-found')) return undefined
      throw error
    })
  if (listing === undefined) return undefined
  if (listing.truncated) {
    throw new AnyplaceError('resource-exhausted', `${JSON.stringify(path)} holds more than ${MAX_ENTRIES} entries.`, {
      hint: 'sync parts of it',
      retryable: false,
    })
  }
  const builder = new SnapshotBuilder(filter)
  const left = new Set<string>()
  for (const info of listing.entries) {
    assertInside(info.path)
    const slash = info.path.lastIndexOf('/')
    const parent = slash < 0 ? '' : info.path.slice(0, slash)
    // The listing is sorted by bytes, so a directory comes before what is in it.
    if (left.has(parent)) {
      if (info.type === 'directory') left.add(info.path)
    } else if (!take(builder, info) && info.type === 'directory') {
      left.add(info.path)
    }
  }
  const unreadable = listing.unreadable?.find((directory) => !left.has(directory))
  if (unreadable !== undefined) {
    throw new AnyplaceError(
      'permission-denied',
      `Cannot read the directory ${JSON.stringify(`${path}/${unreadable}`)}.`,
      {
        hint: 'make it readable, or leave it out with exclude',
      },
    )
  }
  return builder
}

function take(builder: SnapshotBuilder, info: FileInfo): boolean {
  if (info.type === 'other') {
    builder.guard(info.path)
    return false
  }
  return builder.add({
    path: info.path,
    type: info.type,
    sizeBytes: info.type === 'file' ? info.sizeBytes : 0,
    mode: info.mode & 0o777,
    modifiedMs: info.modifiedAt.getTime(),
    target: info.target,
  })
}

function assertInside(path: string): void {
  if (path.includes('\0') || LEADS_OUT.test(path)) {
    throw new AnyplaceError(
      'protocol-error',
      `The sandbox lists the path ${JSON.stringify(path.slice(0, 200))}, which is in no tree.`,
    )
  }
}
