import { expect, test } from 'vitest'
import { AnyplaceError } from '../../src/spec/index.ts'
import type { CliApi } from '../../src/cli/api.ts'
import type { KeyInfo } from '../../src/nodes/keys/key-records.ts'
import type { NodeInfo } from '../../src/nodes/registry/node-records.ts'
import type { NodeTestStep } from '../../src/nodes/registry/test-node.ts'
import { callCli } from '../support/call-cli.ts'

const LOCAL: NodeInfo = { name: 'local', config: { type: 'local' }, isDefault: false, isBuiltIn: true }
const BOX: NodeInfo = {
  name: 'gpu-box',
  config: { type: 'ssh', host: 'gpu.example.com', port: 2222, username: 'ann', jumpHosts: ['a', 'b'] },
  isDefault: true,
  isBuiltIn: false,
  createdAt: new Date(0),
  health: { state: 'failing', checkedAt: new Date(Date.now() - 60_000), message: 'no \u001B[31mroute' },
}

test('nodes list: a star on the default, and nothing steers the terminal', async () => {
  const api: Partial<CliApi> = { listNodes: () => Promise.resolve([LOCAL, BOX]) }
  const { out } = await callCli(['nodes', 'list'], { api })
  expect(out.split('\n')[0]).toMatch(/^ {2}NAME +TYPE +WHERE +HEALTH$/)
  expect(out).toMatch(/^ {2}local +local +this computer +not tested$/m)
  expect(out).toMatch(/^\* gpu-box +ssh +ann@gpu\.example\.com:2222 +failing \(1m ago\)$/m)
  expect((await callCli(['nodes', 'list', '-q'], { api })).out).toBe('local\ngpu-box\n')
  const { source, nodes } = JSON.parse((await callCli(['nodes', 'list', '--json'], { api })).out) as {
    source: string
    nodes: unknown[]
  }
  expect(source).toBe('anyplace')
  expect(nodes[1]).toMatchObject({ name: 'gpu-box', isDefault: true, createdAt: '1970-01-01T00:00:00.000Z' })
})

test('nodes show: every setting, and why it fails', async () => {
  const { out } = await callCli(['nodes', 'show', 'gpu-box'], { api: { getNode: () => Promise.resolve(BOX) } })
  for (const line of [/^name +gpu-box \(default\)$/m, /^jumpHosts +a, b$/m, /^probed +never$/m])
    expect(out).toMatch(line)
  expect(out).toContain('failing (1m ago): no ')
  expect(out).not.toContain('\u001B')
})

test('nodes test: each step, and an exit code that tells', async () => {
  const steps: NodeTestStep[] = [
    { step: 'key', status: 'ok', message: 'work', durationMs: 1 },
    { step: 'connect', status: 'failed', message: 'refused', hint: 'check it', durationMs: 2 },
  ]
  const testNode: CliApi['testNode'] = (node, options) => {
    for (const step of steps) options?.onStep?.(step)
    return Promise.resolve({ node, state: 'failing', steps })
  }
  const text = await callCli(['nodes', 'test', 'gpu-box'], { api: { testNode } })
  expect(text).toEqual({
    code: 125,
    out: `ok    key        work\nFAIL  connect    refused\n${' '.repeat(17)}hint: check it\n`,
    err: '',
  })
  const json = await callCli(['nodes', 'test', 'gpu-box', '--json'], { api: { testNode } })
  expect(json.code).toBe(125)
  expect(JSON.parse(json.out)).toEqual({ source: 'anyplace', node: 'gpu-box', state: 'failing', steps })
})

test('keys show -l is what ssh-keygen -l prints', async () => {
  const key: KeyInfo = {
    name: 'work',
    type: 'ssh-rsa',
    bits: 4096,
    fingerprint: 'SHA256:x',
    comment: '',
    publicKey: 'ssh-rsa AAAA',
    origin: 'added',
    createdAt: new Date(0),
  }
  const api: Partial<CliApi> = { getKey: () => Promise.resolve(key) }
  expect((await callCli(['keys', 'show', '-l', 'work'], { api })).out).toBe('4096 SHA256:x no comment (RSA)\n')
  expect((await callCli(['keys', 'show', 'work'], { api })).out).toBe('ssh-rsa AAAA\n')
})

test('of several that are removed, one that fails does not stop the others', async () => {
  const removeKey: CliApi['removeKey'] = (name) =>
    name === 'b' ? Promise.reject(new AnyplaceError('conflict', 'It is used.')) : Promise.resolve()
  const text = await callCli(['keys', 'rm', 'a', 'b', 'c', 'a'], { api: { removeKey } })
  expect(text).toEqual({ code: 125, out: 'a\nc\n', err: 'anyplace: conflict: It is used.\n' })
  const json = await callCli(['keys', 'rm', 'a', 'b', '--json'], { api: { removeKey } })
  expect(JSON.parse(json.out)).toMatchObject({ removed: ['a'], failed: [{ key: 'b', code: 'conflict' }] })
})
