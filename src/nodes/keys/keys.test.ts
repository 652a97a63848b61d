import { execFileSync } from 'node:child_process'
import { createPrivateKey } from 'node:crypto'
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { addNode, removeNode } from '../registry/nodes.ts'
import { addKey, generateKey, getKey, listKeys, openKey, removeKey } from './keys.ts'

let directory = ''
beforeEach(() => void (directory = mkdtempSync(join(tmpdir(), 'anyplace-state-'))))
afterEach(() => rmSync(directory, { recursive: true, force: true }))

/** Every byte of the state directory. */
function onDisk(): Buffer {
  return Buffer.concat(readdirSync(directory).map((name) => readFileSync(join(directory, name))))
}

/** What must not be found: the key's text, and its secret numbers as they are and in the usual spellings. */
function traces(pem: string): readonly (string | Buffer)[] {
  const { d = '', p } = createPrivateKey(pem).export({ format: 'jwk' })
  const numbers = [d, ...(p === undefined ? [] : [p])].map((text) => Buffer.from(text, 'base64url'))
  const body = pem.split('\n')[1] ?? ''
  return [
    body,
    ...numbers.flatMap((bytes) => [
      bytes,
      bytes.toString('hex'),
      bytes.toString('base64').slice(0, 40),
      bytes.toString('base64url').slice(0, 40),
    ]),
  ]
}

test('a generated key is sealed: its public half is known, its private half is nowhere in the state in the clear', async () => {
  for (const type of ['ed25519', 'rsa'] as const) {
    const info = await generateKey(`my-${type}`, { directory, type })
    expect(info).toMatchObject({ name: `my-${type}`, origin: 'generated', comment: `anyplace:my-${type}` })
    const printed = execFileSync('ssh-keygen', ['-lf', '-'], { input: info.publicKey, encoding: 'utf8' }).trim()
    const word = type === 'rsa' ? 'RSA' : 'ED25519'
    expect(`${info.bits} ${info.fingerprint} ${info.comment} (${word})`).toBe(printed)
    expect(info.bits).toBe(type === 'rsa' ? 4096 : 256)
    const key = await openKey(`my-${type}`, { directory })
    expect(key).toMatchObject({ fingerprint: info.fingerprint, comment: info.comment, type: info.type })
    const disk = onDisk()
    expect(disk.includes(info.publicKey)).toBe(true)
    for (const trace of traces(key.pem)) expect(disk.includes(trace)).toBe(false)
  }
  expect((await listKeys({ directory })).map(({ name }) => name)).toEqual(['my-ed25519', 'my-rsa'])
})

test('an encrypted key is opened once; its passphrase is kept nowhere', async () => {
  const path = join(directory, 'id')
  const passphrase = 'correct horse battery'
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-a', '1', '-N', passphrase, '-C', 'ann@host', '-f', path])
  const privateKey = readFileSync(path)
  const line = readFileSync(`${path}.pub`, 'utf8').trim()
  rmSync(path)
  await expect(addKey('ann', { directory, privateKey })).rejects.toMatchObject({ data: { cause: 'passphrase-needed' } })
  const wrong = addKey('ann', { directory, privateKey, passphrase: 'battery staple' })
  await expect(wrong).rejects.toMatchObject({ code: 'permission-denied', data: { cause: 'wrong-passphrase' } })
  expect(await addKey('ann', { directory, privateKey, passphrase })).toMatchObject({ publicKey: line, origin: 'added' })
  expect((await openKey('ann', { directory })).comment).toBe('ann@host')
  for (const trace of [passphrase, 'battery staple', ...traces((await openKey('ann', { directory })).pem)]) {
    expect(onDisk().includes(trace)).toBe(false)
  }
})

test('a name is taken once, by whoever comes first, and its key is that one', async () => {
  const tries = await Promise.allSettled(Array.from({ length: 4 }, () => generateKey('one', { directory })))
  const made = tries.filter((result) => result.status === 'fulfilled')
  expect(made).toHaveLength(1)
  for (const result of tries) {
    if (result.status === 'rejected') expect(result.reason).toMatchObject({ code: 'already-exists', field: 'name' })
  }
  expect((await openKey('one', { directory })).fingerprint).toBe(made[0]?.value.fingerprint)
})

test('a key that a node uses stays', async () => {
  await generateKey('work', { directory })
  await addNode('box', { type: 'ssh', host: 'box.example', key: 'work' }, { directory })
  const hint = expect.stringContaining('nodes rm box') as string
  await expect(removeKey('work', { directory })).rejects.toMatchObject({ code: 'conflict', hint })
  expect(await openKey('work', { directory })).toBeTruthy()
  await removeNode('box', { directory })
  await removeKey('work', { directory })
  expect(await listKeys({ directory })).toEqual([])
  for (const gone of [
    removeKey('work', { directory }),
    getKey('work', { directory }),
    openKey('work', { directory }),
  ]) {
    await expect(gone).rejects.toMatchObject({ code: 'not-found' })
  }
})

test('of a node that is added and a key that is removed at once, never both happen', async () => {
  for (let round = 0; round < 5; round++) {
    await generateKey(`key${round}`, { directory })
    await Promise.allSettled([
      addNode(`box${round}`, { type: 'ssh', host: 'box.example', key: `key${round}` }, { directory }),
      removeKey(`key${round}`, { directory }),
    ])
    const hasNode = await removeNode(`box${round}`, { directory }).then(
      () => true,
      () => false,
    )
    if (hasNode) expect(await openKey(`key${round}`, { directory })).toBeTruthy()
  }
})

test.each(['', '-x', 'a/b', 'a b', '../x', 'x'.repeat(64), 'a\n', '__proto__ '])('%j is no name', async (name) => {
  await expect(generateKey(name, { directory })).rejects.toMatchObject({ code: 'invalid-argument', field: 'name' })
})

test('another vault key opens nothing, and says so', async () => {
  await generateKey('one', { directory })
  const vaultKey = { from: 'passphrase', passphrase: 'x' } as const
  await expect(openKey('one', { directory, vaultKey })).rejects.toMatchObject({ code: 'vault-locked' })
  await removeKey('one', { directory })
})

test('a vault with a passphrase is opened by the environment, for nodes as well', async () => {
  vi.stubEnv('ANYPLACE_VAULT_PASSPHRASE', 'caf\u00e9 au lait')
  const { fingerprint } = await generateKey('one', { directory })
  expect((await openKey('one', { directory })).fingerprint).toBe(fingerprint)
  expect(readdirSync(directory)).not.toContain('vault.key')
  expect(onDisk().includes('au lait')).toBe(false)
  vi.stubEnv('ANYPLACE_VAULT_PASSPHRASE', 'tea')
  await expect(openKey('one', { directory })).rejects.toMatchObject({ code: 'vault-locked' })
  vi.stubEnv('ANYPLACE_VAULT_PASSPHRASE', '')
  const hint = expect.stringContaining('ANYPLACE_VAULT_PASSPHRASE') as string
  await expect(openKey('one', { directory })).rejects.toMatchObject({ code: 'vault-locked', hint })
  vi.unstubAllEnvs()
})
