import { stat } from 'node:fs/promises'
import { basename, posix } from 'node:path'
import { AnyplaceError } from '../spec/index.ts'
import type { Files } from '../spec/index.ts'
import { usageError } from './usage-error.ts'

export interface Copy {
  readonly direction: 'in' | 'out'
  readonly sandbox: string
  /** As written; `.` for none. */
  readonly remotePath: string
  readonly localPath: string
}

/** `NAME:PATH`, unless it begins like a path or has a slash before the colon. */
export function splitRemote(text: string): { readonly sandbox: string; readonly path: string } | undefined {
  const match = /^([A-Za-z0-9][A-Za-z0-9._-]*):([^]*)$/.exec(text)
  return match === null ? undefined : { sandbox: match[1] ?? '', path: match[2] || '.' }
}

/** @throws AnyplaceError `invalid-argument` unless exactly one side is in a sandbox */
export function parseCopy(source: string, target: string): Copy {
  const [from, to] = [splitRemote(source), splitRemote(target)]
  const given = `(got ${JSON.stringify(source)} and ${JSON.stringify(target)})`
  if (source === '-' || target === '-') {
    throw usageError(
      'cp does not read stdin or write stdout.',
      "for example: anyplace exec -i SANDBOX -- sh -c 'cat > FILE' < FILE",
    )
  }
  if (from !== undefined && to !== undefined) {
    throw usageError(
      `One side must be a local path ${given}.`,
      'copy it here first; a local name with a colon is written ./name',
    )
  }
  if (from === undefined && to === undefined) {
    throw usageError(
      `One side must be SANDBOX:PATH ${given}.`,
      `for example: anyplace cp ${source || 'FILE'} SANDBOX:${basename(target)}`,
    )
  }
  if (source === '' || target === '') throw usageError(`A path is empty ${given}.`, 'for the directory here write .')
  if (from !== undefined) return { direction: 'out', sandbox: from.sandbox, remotePath: from.path, localPath: target }
  return { direction: 'in', sandbox: to?.sandbox ?? '', remotePath: to?.path ?? '.', localPath: source }
}

/** Where an upload goes: inside the target when that is a directory, unless the source ends with `/.`. */
export async function remoteTarget(files: Files, copy: Copy, signal: AbortSignal): Promise<string> {
  const { remotePath, localPath } = copy
  if (meansContents(localPath)) return remotePath
  if (remotePath.endsWith('/') || (await isRemoteDirectory(files, remotePath, signal))) {
    return posix.join(remotePath, basename(localPath))
  }
  return remotePath
}

/** Where a download goes; the same rule. */
export async function localTarget(copy: Copy, local: string): Promise<string> {
  if (meansContents(copy.remotePath)) return local
  const isDirectory = await stat(local).then(
    (found) => found.isDirectory(),
    () => false,
  )
  if (!isDirectory && !copy.localPath.endsWith('/')) return local
  return posix.join(local, posix.basename(copy.remotePath))
}

function meansContents(path: string): boolean {
  return path === '.' || path === '..' || path.endsWith('/.') || path.endsWith('/..') || path === '/'
}

async function isRemoteDirectory(files: Files, path: string, signal: AbortSignal): Promise<boolean> {
  try {
    const found = await files.stat(path, { signal })
    // The dot makes the system follow a link.
    return found.type === 'symlink'
      ? (await files.stat(`${path}/.`, { signal })).type === 'directory'
      : found.type === 'directory'
  } catch (error) {
    if (AnyplaceError.is(error, 'file-not-found') || AnyplaceError.is(error, 'not-a-directory')) return false
    throw error
  }
}
