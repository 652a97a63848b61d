import { randomBytes } from 'node:crypto'
import { chmodSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, statSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openStore } from './open-store.ts'
import type { JsonValue } from './store.ts'
import { openVault } from './vault.ts'
import type { Vault } from './vault.ts'

const bytes = (text: string): Uint8Array => Buffer.from(text)
const text = (value: Uint8Array): string => Buffer.from(value).toString()
const SECRET = 'hunter2-plain-text-marker'

let directory = ''
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'vault-'))
  delete process.env['ANYPLACE_VAULT_KEY']
})
afterEach(() => {
  rmSync(directory, { recursive: true, force: true })
  delete process.env['ANYPLACE_VAULT_KEY']
})

async function sealOne(options: Parameters<typeof openVault>[0] = {}): Promise<void> {
  await using vault = await openVault({ directory, ...options })
  await vault.seal('token', bytes(SECRET))
}

/** Everything in the directory, the journal of the database included. */
function onDisk(): string {
  return readdirSync(directory)
    .map((name) => readFileSync(join(directory, name), 'latin1'))
    .join('\n')
}

describe('the vault', () => {
  test('gives back what was sealed, by name, and lists names without the key', async () => {
    await using vault = await openVault({ directory })
    await fc.assert(
      fc.asyncProperty(
        fc.stringMatching(/^[\w .é/-]{1,40}$/),
        fc.uint8Array({ maxLength: 5000 }),
        async (name, value) => {
          await vault.seal(name, value)
          expect([...(await vault.open(name))]).toEqual([...value])
        },
      ),
      { numRuns: 30 },
    )
    for (const name of await vault.list()) expect(await vault.remove(name)).toBe(true)
    await vault.seal('b', bytes('2'))
    await vault.seal('a', bytes('1'))
    await vault.seal('a', bytes('3'))
    expect(await vault.list()).toEqual(['a', 'b'])
    expect(text(await vault.open('a'))).toBe('3')
    expect(await vault.remove('c')).toBe(false)
    await expect(vault.open('c')).rejects.toMatchObject({ code: 'not-found' })
    for (const name of ['', '\0check', 'a\nb', 'x'.repeat(257)]) {
      await expect(vault.seal(name, bytes(SECRET)), name).rejects.toMatchObject({ field: 'name' })
    }
  })

  test('writes no plain text, and the same secret twice looks different', async () => {
    await using vault = await openVault({ directory })
    await vault.seal('one', bytes(SECRET))
    await vault.seal('two', bytes(SECRET))
    const disk = onDisk()
    expect(disk).toContain('one')
    for (const form of ['latin1', 'base64', 'hex', 'base64url'] as const) {
      expect(disk).not.toContain(Buffer.from(SECRET).toString(form).replaceAll('=', ''))
    }
    await using store = await openStore({ directory })
    expect((await store.get('vault', 'one'))?.value).not.toEqual((await store.get('vault', 'two'))?.value)
  })

  test('any change of what is stored is found out', async () => {
    await sealOne()
    await using vault = await openVault({ directory })
    await vault.seal('other', bytes('x'))
    await using store = await openStore({ directory })
    const sealed = Buffer.from((await store.get('vault', 'token'))!.value as string, 'base64')
    const refused = async (value: JsonValue): Promise<void> => {
      await store.set('vault', 'token', value)
      const failure = vault.open('token')
      await expect(failure).rejects.toMatchObject({ code: 'vault-locked' })
      await expect(failure).rejects.not.toThrow(SECRET)
    }
    for (let index = 0; index < sealed.length; index++) {
      const changed = Buffer.from(sealed)
      changed[index]! ^= 1
      await refused(changed.toString('base64'))
    }
    for (const length of [0, 11, 12, 27, 28, sealed.length - 1]) {
      await refused(sealed.subarray(0, length).toString('base64'))
    }
    await refused((await store.get('vault', 'other'))!.value)
    await refused(7)
    await store.set('vault', 'token', sealed.toString('base64'))
    expect(text(await vault.open('token'))).toBe(SECRET)
  })

  test('does nothing once it is closed', async () => {
    const vault: Vault = await openVault({ directory })
    await vault.close()
    await vault.close()
    await expect(vault.seal('a', bytes('1'))).rejects.toMatchObject({ code: 'conflict' })
    await expect(vault.open('a')).rejects.toMatchObject({ code: 'conflict' })
  })
})

describe('the key', () => {
  const file = (): string => join(directory, 'vault.key')

  test('in a file: made once, for the owner alone', async () => {
    const mask = process.umask(0)
    try {
      await Promise.all([openVault({ directory }), openVault({ directory })].map(async (one) => (await one).close()))
      await sealOne()
    } finally {
      process.umask(mask)
    }
    expect(statSync(file()).mode & 0o777).toBe(0o600)
    expect(readdirSync(directory).filter((name) => name.startsWith('vault.key'))).toEqual(['vault.key'])
    await using vault = await openVault({ directory })
    expect(text(await vault.open('token'))).toBe(SECRET)
  })

  test('in a file that is open to others, or is a link: refused', async () => {
    await sealOne()
    for (const mode of [0o640, 0o604, 0o660]) {
      chmodSync(file(), mode)
      const hint = expect.stringContaining('chmod 600') as string
      await expect(openVault({ directory })).rejects.toMatchObject({ code: 'permission-denied', hint })
    }
    chmodSync(file(), 0o600)
    renameSync(file(), join(directory, 'elsewhere'))
    symlinkSync('elsewhere', file())
    await expect(openVault({ directory })).rejects.toMatchObject({ code: 'permission-denied' })
  })

  test('in a file that is gone: said so, and no new one is made', async () => {
    await sealOne()
    rmSync(file())
    await expect(openVault({ directory })).rejects.toMatchObject({ code: 'vault-locked' })
    expect(readdirSync(directory)).not.toContain('vault.key')
  })

  test('in the environment: taken, checked, and no file is made', async () => {
    process.env['ANYPLACE_VAULT_KEY'] = randomBytes(32).toString('base64')
    await sealOne()
    expect(readdirSync(directory)).not.toContain('vault.key')
    {
      await using vault = await openVault({ directory })
      expect(text(await vault.open('token'))).toBe(SECRET)
    }
    process.env['ANYPLACE_VAULT_KEY'] = randomBytes(32).toString('base64')
    await expect(openVault({ directory })).rejects.toMatchObject({ code: 'vault-locked' })
    for (const bad of ['short', randomBytes(31).toString('base64'), `!${randomBytes(32).toString('base64')}`]) {
      process.env['ANYPLACE_VAULT_KEY'] = bad
      const failure = openVault({ directory })
      await expect(failure).rejects.toMatchObject({ code: 'invalid-argument' })
      await expect(failure).rejects.not.toThrow(bad)
    }
    delete process.env['ANYPLACE_VAULT_KEY']
    await expect(openVault({ directory })).rejects.toMatchObject({ code: 'vault-locked' })
    await expect(openVault({ directory, key: { from: 'environment' } })).rejects.toMatchObject({ code: 'vault-locked' })
  })

  test('from a passphrase: the right one opens, in either spelling of its letters; no other does', async () => {
    await sealOne({ key: { from: 'passphrase', passphrase: 'caf\u00e9 au lait' } })
    {
      await using vault = await openVault({ directory, key: { from: 'passphrase', passphrase: 'cafe\u0301 au lait' } })
      expect(text(await vault.open('token'))).toBe(SECRET)
    }
    const wrong = openVault({ directory, key: { from: 'passphrase', passphrase: 'Caf\u00e9 au lait' } })
    await expect(wrong).rejects.toMatchObject({ code: 'vault-locked' })
    await expect(wrong).rejects.not.toThrow('lait')
    const hint = expect.stringContaining('passphrase') as string
    await expect(openVault({ directory })).rejects.toMatchObject({ code: 'vault-locked', hint })
    expect(onDisk()).not.toContain('au lait')
    await expect(openVault({ directory, key: { from: 'passphrase', passphrase: '' } })).rejects.toMatchObject({
      code: 'invalid-argument',
    })
  })
})
