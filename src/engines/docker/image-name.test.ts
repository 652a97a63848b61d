import fc from 'fast-check'
import { expect, test } from 'vitest'
import { AnyplaceError } from '../../spec/index.ts'
import { parseImageName } from './image-name.ts'

const DIGEST = `sha256:${'a1'.repeat(32)}`

test.each([
  ['python:3.12-slim', 'docker.io', 'python', '3.12-slim'],
  ['python', 'docker.io', 'python', 'latest'],
  ['owner/name:1', 'docker.io', 'owner/name', '1'],
  ['ghcr.io/owner/name', 'ghcr.io', 'ghcr.io/owner/name', 'latest'],
  ['localhost/python:3', 'localhost', 'localhost/python', '3'],
  ['localhost:5000/a/b/c:x', 'localhost:5000', 'localhost:5000/a/b/c', 'x'],
  [`python:3@${DIGEST}`, 'docker.io', 'python', DIGEST],
  [`[::1]:5000/a@${DIGEST}`, '[::1]:5000', '[::1]:5000/a', DIGEST],
  [DIGEST, '', DIGEST, undefined],
])('%s', (reference, registry, repository, version) => {
  expect(parseImageName(reference)).toEqual({ reference, registry, repository, version })
})

test.each([
  '',
  '-v',
  '--help',
  'Python',
  'a b',
  'a/../b',
  '../a',
  'a:',
  'a@sha256:12',
  '/a',
  'a//b',
  'a\n',
  'a:-x',
  'x?y=1',
  'a%2fb',
])('refuses %j and names the field', (reference) => {
  expect(() => parseImageName(reference)).toThrow(
    expect.toSatisfy((error: unknown) => AnyplaceError.is(error, 'invalid-argument') && error.field === 'image'),
  )
})

test('whatever is accepted needs no escaping in a path', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 40 }), (text) => {
      try {
        parseImageName(text)
      } catch {
        return
      }
      expect(text).toMatch(/^[A-Za-z0-9[][A-Za-z0-9[\]:@/._-]*$/)
      expect(text).not.toContain('..')
    }),
  )
})
