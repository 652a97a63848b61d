import { AnyplaceError } from '../spec/errors.ts'

/** Arguments that cannot be understood: `invalid-argument` with the next thing to type. */
export function usageError(message: string, hint?: string, field?: string): AnyplaceError {
  return new AnyplaceError('invalid-argument', message, { hint, field })
}
