import { AnyplaceError } from '../spec/index.ts'
import type { ErrorCode } from '../spec/index.ts'

const CODES: Readonly<Record<string, ErrorCode>> = {
  ENOENT: 'file-not-found',
  EEXIST: 'file-exists',
  ENOTEMPTY: 'file-exists',
  ENOTDIR: 'not-a-directory',
  EISDIR: 'is-a-directory',
  EACCES: 'permission-denied',
  EPERM: 'permission-denied',
  EROFS: 'permission-denied',
  ENOSPC: 'no-space',
  EDQUOT: 'no-space',
  EMFILE: 'resource-exhausted',
  ENFILE: 'resource-exhausted',
  ENAMETOOLONG: 'invalid-argument',
  ELOOP: 'invalid-argument',
}

/** The system's own name of a failure, such as `ENOENT`; undefined for anything else. */
export function errnoOf(error: unknown): string | undefined {
  const code: unknown = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined
  return typeof code === 'string' ? code : undefined
}

/**
 * A failure of the local file system as an AnyplaceError: what was tried, with which path, and why it failed.
 * An AnyplaceError is given back as it is.
 *
 * @param action what was tried, such as `read` or `make directory`
 */
export function fileError(error: unknown, action: string, path: string): AnyplaceError {
  if (AnyplaceError.is(error)) return error
  const errno = errnoOf(error)
  const reason = error instanceof Error ? error.message.replace(/, \w+( '.*)?$/s, '') : String(error)
  return new AnyplaceError(
    (errno === undefined ? undefined : CODES[errno]) ?? 'internal',
    `Cannot ${action} ${JSON.stringify(path)}: ${reason}.`,
    { cause: error, data: { path, ...(errno === undefined ? {} : { errno }) } },
  )
}
