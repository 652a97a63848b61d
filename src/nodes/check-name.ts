import { AnyplaceError } from '../spec/index.ts'

const NAME = /^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$/i

/**
 * Refuses what could not be typed, shown or used in a file's name as it is.
 *
 * @throws AnyplaceError `invalid-argument`
 */
export function checkName(name: unknown, what: 'key' | 'node'): asserts name is string {
  if (typeof name === 'string' && NAME.test(name)) return
  const shown = typeof name === 'string' ? JSON.stringify(name.slice(0, 80)) : typeof name
  throw new AnyplaceError('invalid-argument', `A ${what}'s name cannot be ${shown}.`, {
    field: 'name',
    hint: 'use 1 to 63 letters, digits and inner . _ -',
  })
}
