import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { addNode, removeNode, setDefaultNode } from './registry/nodes.ts'
import { nodeNames, resolveNode } from './resolve-node.ts'

let directory = ''
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'anyplace-state-'))
  vi.stubEnv('ANYPLACE_HOME', directory)
  vi.stubEnv('ANYPLACE_ON', '')
})
afterEach(() => {
  vi.unstubAllEnvs()
  rmSync(directory, { recursive: true, force: true })
})

test('given, else ANYPLACE_ON, else local', async () => {
  vi.stubEnv('ANYPLACE_ON', 'local/direct')
  expect(await resolveNode()).toMatchObject({ on: 'local/direct', engine: 'direct' })
  expect(await resolveNode('local/docker')).toMatchObject({ on: 'local/docker', engine: 'docker' })
  vi.stubEnv('ANYPLACE_ON', '')
  expect(await resolveNode()).toMatchObject({ on: 'local', engine: undefined })
})

test.each(['', 'locl', 'local/', 'local/docke', 'local/docker/x', 'gpu-box', '-x', '__proto__', 'ssh', 'ssh/docker'])(
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

test('nodes that were added, with and without an engine behind a slash', async () => {
  await addNode('gpu-box', { type: 'ssh', host: 'gpu.example.com' })
  await addNode('lab', { type: 'local', engine: 'direct' })
  expect(await resolveNode('gpu-box')).toMatchObject({ on: 'gpu-box', engine: undefined, provider: { type: 'ssh' } })
  expect(await resolveNode('gpu-box/docker')).toMatchObject({ engine: 'docker', config: { host: 'gpu.example.com' } })
  expect(await resolveNode('lab')).toMatchObject({ engine: 'direct', provider: { type: 'local' } })
  expect(await resolveNode('lab/docker')).toMatchObject({ engine: 'docker', provider: { type: 'local' } })
  expect((await resolveNode('gpu-box')).provider).toBe((await resolveNode('gpu-box')).provider)
  for (const [on, hint] of [
    ['gpu-bx', 'did you mean gpu-box?'],
    ['gpu-box/dokcer', 'did you mean gpu-box/docker?'],
    ['lab/', 'did you mean lab?'],
  ] as const) {
    await expect(resolveNode(on)).rejects.toMatchObject({ code: 'not-found', hint })
  }
})

test('the default node is where work runs when nothing else is said', async () => {
  await addNode('lab', { type: 'local', engine: 'direct' }, { isDefault: true })
  expect(await resolveNode()).toMatchObject({ on: 'lab', engine: 'direct' })
  expect(await resolveNode('local')).toMatchObject({ on: 'local', engine: undefined })
  vi.stubEnv('ANYPLACE_ON', 'local/docker')
  expect(await resolveNode()).toMatchObject({ on: 'local/docker' })
  vi.stubEnv('ANYPLACE_ON', '')
  await removeNode('lab')
  expect(await resolveNode()).toMatchObject({ on: 'local' })
})

test('a node that was removed and added again is the new one', async () => {
  await addNode('a', { type: 'ssh', host: 'one.example' })
  const first = await resolveNode('a')
  await removeNode('a')
  await expect(resolveNode('a')).rejects.toMatchObject({ code: 'not-found' })
  await addNode('a', { type: 'ssh', host: 'two.example' })
  expect((await resolveNode('a')).provider).not.toBe(first.provider)
  await setDefaultNode('a')
  expect(await resolveNode()).toMatchObject({ on: 'a', config: { host: 'two.example' } })
})
