import { expect, test } from 'vitest'
import { AnyplaceError, ERROR_CODES } from '../../src/spec/index.ts'

/**
 * The whole table, frozen. Exit codes, HTTP statuses and what programs of others retry hang on it: to change a line here
 * is to change the interface, so say it in the changelog.
 */
const FROZEN: Readonly<Record<string, readonly [httpStatus: number, retryable: boolean]>> = {
  'invalid-argument': [400, false],
  unsupported: [422, false],
  'already-exists': [409, false],
  conflict: [409, false],
  'not-found': [404, false],
  'permission-denied': [403, false],
  'engine-unavailable': [503, true],
  'image-not-found': [404, false],
  'sandbox-not-found': [404, false],
  'sandbox-gone': [410, false],
  'connection-lost': [502, true],
  'resource-exhausted': [429, true],
  'no-exec-daemon': [502, false],
  'process-not-found': [404, false],
  'command-not-found': [422, false],
  'command-not-executable': [422, false],
  'command-failed': [422, false],
  'output-discarded': [410, false],
  'file-not-found': [404, false],
  'file-exists': [409, false],
  'not-a-directory': [422, false],
  'is-a-directory': [422, false],
  'no-space': [507, false],
  'unsafe-archive': [422, false],
  timeout: [504, true],
  cancelled: [499, false],
  'vault-locked': [401, false],
  'protocol-error': [502, false],
  internal: [500, false],
}

test('the table of error codes is what it was', () => {
  const table = Object.entries(ERROR_CODES).map(([code, { httpStatus, retryable }]) => [code, [httpStatus, retryable]])
  expect(Object.fromEntries(table)).toEqual(FROZEN)
})

test('an error carries the answer of the table unless it says otherwise', () => {
  expect(new AnyplaceError('timeout', 'Late.').retryable).toBe(true)
  expect(new AnyplaceError('timeout', 'Late.', { retryable: false }).retryable).toBe(false)
  const other: unknown = Object.assign(new Error('x'), { [Symbol.for('anyplace.error')]: true, code: 'timeout' })
  expect(AnyplaceError.is(other, 'timeout')).toBe(true)
  expect(AnyplaceError.is(other, 'cancelled')).toBe(false)
  expect(AnyplaceError.is(new Error('x'))).toBe(false)
})
