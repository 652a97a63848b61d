import { randomBytes } from 'node:crypto'
import { mkdir, lstat } from 'node:fs/promises'
import { AnyplaceError } from '../../spec/index.ts'

/**
 * A directory of ours alone for control sockets and short-lived configs: below XDG_RUNTIME_DIR, else /tmp. Short, because a
 * unix socket's path is limited to 104 bytes on some systems and ssh adds 17 of its own.
 *
 * @throws AnyplaceError `permission-denied` when somebody else has made it
 */
export async function runtimeDirectory(): Promise<string> {
  const base = process.env['XDG_RUNTIME_DIR']
  const uid = process.getuid?.() ?? 0
  const candidates = [
    ...(base !== undefined && base.startsWith('/') && base.length <= 40 ? [`${base}/anyplace-ssh`] : []),
    `/tmp/anyplace-ssh-${uid}`,
  ]
  let last: unknown
  for (const path of candidates) {
    try {
      await mkdir(path, { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'EEXIST') throw error
      })
      const info = await lstat(path)
      if (info.isDirectory() && info.uid === uid && (info.mode & 0o077) === 0) return path
      last = new AnyplaceError('permission-denied', `${path} is not a private directory of ours.`, {
        hint: `look who made it, and remove it: ls -ld ${path}`,
      })
    } catch (error) {
      last = error
    }
  }
  throw last
}

/** A name that nobody else takes. */
export function uniqueName(): string {
  return `${process.pid.toString(36)}-${randomBytes(4).toString('hex')}`
}
