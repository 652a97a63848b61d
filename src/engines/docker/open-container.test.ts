import { expect, test } from 'vitest'
import { interpreterOf } from './open-container.ts'

test('only an image that alone decides what runs as python3 names an interpreter', () => {
  const connection = { socket: { path: '/run/docker.sock', source: 'default' } }
  const request = { spec: {} }
  const image = { id: 'sha256:1', user: undefined }
  const name = interpreterOf({ isLocal: true }, connection, request, { image, mounts: [] })
  expect(name).toContain('sha256:1')
  const others = [
    interpreterOf({ isLocal: true }, connection, request, { image: { ...image, id: 'sha256:2' }, mounts: [] }),
    interpreterOf({ isLocal: true }, { socket: { ...connection.socket, path: '/other.sock' } }, request, {
      image,
      mounts: [],
    }),
    interpreterOf({ isLocal: true }, connection, { spec: { env: { PATH: '/mine' } } }, { image, mounts: [] }),
  ]
  expect(new Set([name, ...others]).size).toBe(4)
  const mount = { Type: 'bind', Source: '/a', Target: '/usr/local/bin', ReadOnly: true } as const
  expect(interpreterOf({ isLocal: true }, connection, request, { image, mounts: [mount] })).toBeUndefined()
  expect(interpreterOf({ isLocal: false }, connection, request, { image, mounts: [] })).toBeUndefined()
})
