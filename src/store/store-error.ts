import { AnyplaceError } from '../spec/index.ts'

/** A failure of the database as one of ours. */
export function storeError(error: unknown, path: string): AnyplaceError {
  if (AnyplaceError.is(error)) return error
  const code = codeOf(error)
  const message = error instanceof Error ? error.message : String(error)
  const where = `The store ${JSON.stringify(path)}`
  if (isBusy(error)) {
    return new AnyplaceError('resource-exhausted', `${where} was held by another process for too long.`, {
      cause: error,
    })
  }
  if (code.startsWith('SQLITE_FULL')) return new AnyplaceError('no-space', `${where} cannot grow.`, { cause: error })
  if (code.startsWith('SQLITE_NOTADB') || code.startsWith('SQLITE_CORRUPT')) {
    return new AnyplaceError('internal', `${where} is damaged: ${message}.`, {
      cause: error,
      hint: 'move the file away; sandboxes are found again by their labels',
    })
  }
  return new AnyplaceError('internal', `${where} failed: ${message}.`, { cause: error })
}

/** True when another process has the database for itself at the moment. */
export function isBusy(error: unknown): boolean {
  return /^SQLITE_(BUSY|LOCKED)/.test(codeOf(error))
}

function codeOf(error: unknown): string {
  const code: unknown = error instanceof Error ? (error as Error & { code?: unknown }).code : undefined
  return typeof code === 'string' ? code : ''
}
