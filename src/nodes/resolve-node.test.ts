import { afterEach, expect, test, vi } from 'vitest'
import { nodeNames, resolveNode } from './resolve-node.ts'

afterEach(() => vi.unstubAllEnvs())

test('given, else ANYPLACE_ON, else local', async () => {
  vi.stubEnv('ANYPLACE_ON', 'local/direct')
  expect(await resolveNode()).toMatchObject({ on: 'local/direct', engine: 'direct' })
  expect(await resolveNode('local/docker')).toMatchObject({ on: 'local/docker', engine: 'docker' })
  vi.stubEnv('ANYPLACE_ON', '')
  expect(await resolveNode()).toMatchObject({ on: 'local', engine: undefined })
})

test.each(['', 'locl', 'local/', 'local/docke', 'local/docker/x', 'gpu-box', '-x', '__proto__'])(
  '%j is not found',
  async (on) => {
    await expect(resolveNode(on)).rejects.toMatchObject({ code: 'not-found', field: 'on' })
  },
)

test('says what there is, what was meant, and where the value came from', async () => {
  vi.stubEnv('ANYPLACE_ON', 'local/dokcer')
  const error = (await resolveNode().catch((reason: unknown) => reason)) as Error
  expect(error).toMatchObject({ hint: 'did you mean local/docker?' })
  expect(error.message).toContain('from ANYPLACE_ON')
  for (const name of nodeNames()) expect(error.message).toContain(name)
})
