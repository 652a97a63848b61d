import { expect, test } from 'vitest'
import { interpreterOf } from './open-container.ts'

test('only an image that alone decides what runs as python3 names an interpreter', () => {
  const connection = { socket: { path: '/run/docker.sock', source: 'default' } }
  const other = { socket: { path: '/other.sock', source: 'default' } }
  const image = { id: 'sha256:1', user: undefined }
  const mount = { Type: 'bind', Source: '/a', Target: '/usr/local/bin', ReadOnly: true } as const
  const here = { isLocal: true }
  const names = [
    interpreterOf(here, connection, { image, mounts: [] }),
    interpreterOf(here, connection, { image: { ...image, id: 'sha256:2' }, mounts: [] }),
    interpreterOf(here, other, { image, mounts: [] }),
  ]
  expect(new Set(names.filter((name) => name !== undefined)).size).toBe(3)
  expect(interpreterOf(here, connection, { image, mounts: [mount] })).toBeUndefined()
  expect(interpreterOf({ isLocal: false }, connection, { image, mounts: [] })).toBeUndefined()
})
