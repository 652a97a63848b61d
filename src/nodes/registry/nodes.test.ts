import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { generateKey } from '../keys/keys.ts'
import { addNode, getNode, listNodes, removeNode, saveHealth, saveProbe, setDefaultNode } from './nodes.ts'
import type { NodeConfig } from './node-records.ts'
import { sshTargetOf } from './ssh-target-of.ts'

let directory = ''
beforeEach(() => void (directory = mkdtempSync(join(tmpdir(), 'anyplace-state-'))))
afterEach(() => rmSync(directory, { recursive: true, force: true }))

const SSH = { type: 'ssh', host: 'gpu.example.com' } as const

async function names(): Promise<string> {
  return (await listNodes({ directory })).map(({ name, isDefault }) => (isDefault ? `*${name}` : name)).join(' ')
}

test('nodes are added, listed with one default, and removed', async () => {
  expect(await names()).toBe('*local')
  await addNode('gpu-box', SSH, { directory })
  await addNode('lab', { type: 'local', engine: 'docker', workspace: '/srv' }, { directory, isDefault: true })
  expect(await names()).toBe('local gpu-box *lab')
  await setDefaultNode('gpu-box', { directory })
  expect(await names()).toBe('local *gpu-box lab')
  await removeNode('gpu-box', { directory })
  expect(await names()).toBe('*local lab')
  await setDefaultNode('lab', { directory })
  await setDefaultNode('local', { directory })
  expect(await names()).toBe('*local lab')
  expect(await getNode('lab', { directory })).toMatchObject({ config: { engine: 'docker', workspace: '/srv' } })
  await expect(setDefaultNode('lba', { directory })).rejects.toMatchObject({ hint: 'there are lab' })
})

test('a local node has the directory where it was added', async () => {
  expect(await addNode('here', { type: 'local' }, { directory })).toMatchObject({
    config: { workspace: process.cwd() },
  })
})

test('names are unique, also when two add at once', async () => {
  const tries = await Promise.allSettled([1, 2, 3].map((port) => addNode('a', { ...SSH, port }, { directory })))
  expect(tries.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  await expect(addNode('a', SSH, { directory })).rejects.toMatchObject({ code: 'already-exists', field: 'name' })
})

test.each<[field: string, name: string, config: object]>([
  ['name', 'local', SSH],
  ['name', 'SSH', SSH],
  ['name', 'modal', SSH],
  ['name', 'a/b', SSH],
  ['name', '-a', SSH],
  ['name', '', SSH],
  ['type', 'a', { type: 'telnet', host: 'x' }],
  ['type', 'a', { type: '__proto__' }],
  ['host', 'a', { type: 'local', host: 'x' }],
  ['host', 'a', { type: 'ssh' }],
  ['host', 'a', { type: 'ssh', host: '' }],
  ['host', 'a', { type: 'ssh', host: '-oProxyCommand=id' }],
  ['host', 'a', { type: 'ssh', host: 'a b' }],
  ['host', 'a', { type: 'ssh', host: 'a\nProxyCommand id' }],
  ['username', 'a', { ...SSH, username: '-l' }],
  ['username', 'a', { ...SSH, username: '' }],
  ['port', 'a', { ...SSH, port: 0 }],
  ['port', 'a', { ...SSH, port: 65_536 }],
  ['port', 'a', { ...SSH, port: 22.5 }],
  ['port', 'a', { ...SSH, port: '22' }],
  ['workspace', 'a', { ...SSH, workspace: '' }],
  ['workspace', 'a', { ...SSH, workspace: '~other/x' }],
  ['workspace', 'a', { ...SSH, workspace: 7 }],
  ['workspace', 'a', { type: 'local', workspace: 'relative' }],
  ['engine', 'a', { ...SSH, engine: 'vm' }],
  ['jumpHosts[0]', 'a', { ...SSH, jumpHosts: ['-oProxyCommand=id'] }],
  ['jumpHosts[1]', 'a', { ...SSH, jumpHosts: ['ok', 'x;id'] }],
  ['jumpHosts', 'a', { ...SSH, jumpHosts: 'ok' }],
  ['identityFile', 'a', { ...SSH, key: 'k', identityFile: '/k' }],
  ['identity', 'a', { ...SSH, identityFile: 'relative' }],
  ['configFile', 'a', { ...SSH, configFile: 'relative' }],
  ['connectTimeoutMs', 'a', { ...SSH, connectTimeoutMs: 0 }],
  ['acceptNewHostKey', 'a', { ...SSH, acceptNewHostKey: 'yes' }],
  ['password', 'a', { ...SSH, password: 'x' }],
  ['slotSeccompProfile', 'a', { type: 'local', slotSeccompProfile: 'relative.json' }],
  ['slotSeccompProfile', 'a', { ...SSH, slotSeccompProfile: '/dev/null' }],
  ['slotSeccompProfile', 'a', { ...SSH, slotSeccompProfile: 7 }],
  ['slotSeccompProfile', 'a', { ...SSH, engine: 'podman', slotSeccompProfile: '/dev/null' }],
  ['slotAppArmorProfile', 'a', { ...SSH, slotAppArmorProfile: 'unconfined' }],
  ['slotAppArmorProfile', 'a', { ...SSH, slotSeccompProfile: '/dev/null', slotAppArmorProfile: 'a,b' }],
])('refused for its %s: %s %j', async (field, name, config) => {
  await expect(addNode(name, config as NodeConfig, { directory })).rejects.toMatchObject({
    code: 'invalid-argument',
    field,
  })
  expect(await names()).toBe('*local')
})

test('a key must be there', async () => {
  await expect(addNode('a', { ...SSH, key: 'work' }, { directory })).rejects.toMatchObject({
    code: 'not-found',
    hint: 'make it: anyplace keys generate work',
  })
  await generateKey('wrok', { directory })
  await expect(addNode('a', { ...SSH, key: 'work' }, { directory })).rejects.toMatchObject({
    hint: 'did you mean wrok?',
  })
})

test('health and the last probe are kept beside the config; a node that is gone stays gone', async () => {
  await addNode('a', SSH, { directory })
  const checkedAt = new Date('2026-01-02T03:04:05Z')
  await Promise.all([
    saveHealth('a', { state: 'failing', checkedAt, message: 'no route' }, { directory }),
    saveProbe('a', { gpus: [], at: checkedAt, none: undefined }, { directory }),
    saveHealth('gone', { state: 'ok', checkedAt }, { directory }),
  ])
  expect(await getNode('a', { directory })).toMatchObject({
    config: SSH,
    health: { state: 'failing', checkedAt, message: 'no route' },
    probe: { report: { gpus: [], at: checkedAt.toISOString() } },
  })
  await expect(getNode('gone', { directory })).rejects.toMatchObject({ code: 'not-found' })
})

test('removing says what there is; local stays', async () => {
  await addNode('gpu-box', SSH, { directory })
  await expect(removeNode('gpubox', { directory })).rejects.toMatchObject({ hint: 'did you mean gpu-box?' })
  await expect(removeNode('local', { directory })).rejects.toMatchObject({ code: 'invalid-argument' })
})

test('a node becomes a target: each kind of identity, and nothing of ours beside', async () => {
  const { fingerprint } = await generateKey('work', { directory })
  const config = { ...SSH, port: 2222, username: 'ann', workspace: 'w', jumpHosts: ['hop'], engine: 'docker' } as const
  const target = sshTargetOf('box', { ...config, key: 'work' }, { directory })
  expect(target).toEqual({
    name: 'box',
    host: SSH.host,
    port: 2222,
    username: 'ann',
    workspace: 'w',
    jumpHosts: ['hop'],
    identity: { kind: 'key', name: 'work', open: expect.any(Function) as unknown },
  })
  if (target.identity.kind === 'key') expect((await target.identity.open()).fingerprint).toBe(fingerprint)
  expect(sshTargetOf('box', { ...SSH, identityFile: '/k' }).identity).toEqual({ kind: 'file', path: '/k' })
  expect(sshTargetOf('box', SSH).identity).toEqual({ kind: 'config' })
})
