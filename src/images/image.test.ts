import { expect, test } from 'vitest'
import { Image } from './image.ts'

test.each([
  'python:3.12-slim',
  'busybox',
  'ghcr.io/owner/name',
  'localhost:5000/a__b/c.d-e:Tag_1',
  `r.example.com/x@sha256:${'0'.repeat(64)}`,
  `sha256:${'0'.repeat(64)}`,
])('%s is an image', (reference) => {
  expect(Image.fromRegistry(reference).reference).toBe(reference)
})

test.each(['', '-x', 'A/b:c:d', 'x y', 'x:', 'x@sha256:12', '../x', 'x\n', 'http://x/y', 'a'.repeat(600)])(
  '%j is refused',
  (reference) => {
    expect(() => Image.fromRegistry(reference)).toThrow(
      expect.objectContaining({ code: 'invalid-argument', field: 'image' }),
    )
  },
)
