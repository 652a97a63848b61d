import { AnyplaceError } from '../../spec/index.ts'
import { newId } from '../../kit/ids.ts'
import type { PrivateKey } from '../../providers/ssh/ssh-target.ts'
import type { PublicKey } from '../../providers/ssh/public-key.ts'
import { removeSealed } from '../../store/vault.ts'
import { checkName } from '../check-name.ts'
import { nodesWithKey } from '../registry/node-records.ts'
import { toJson, withStore, withVault } from '../state.ts'
import type { StateOptions, VaultOptions } from '../state.ts'
import { KEYS, keyInfo, readKey } from './key-records.ts'
import type { KeyInfo, KeyRecord } from './key-records.ts'

export interface GenerateKeyOptions extends VaultOptions {
  /** @default 'ed25519' */
  readonly type?: 'ed25519' | 'rsa' | undefined
  /** @default 'anyplace:' and the name */
  readonly comment?: string | undefined
}

export interface AddKeyOptions extends VaultOptions {
  /** The private key as its file holds it: OpenSSH's format, or PEM. */
  readonly privateKey: Uint8Array | string
  /** Opens an encrypted one. It is kept nowhere; the vault's own encryption takes its place. */
  readonly passphrase?: string | undefined
  /** @default the one in the file, else 'anyplace:' and the name */
  readonly comment?: string | undefined
}

/**
 * Makes a new SSH key, Ed25519 or RSA of 4096 bits. Its private half goes into the vault and is never written to disk
 * in the clear.
 *
 * @throws AnyplaceError `already-exists`, `invalid-argument` for a bad name, `vault-locked`
 */
export async function generateKey(name: string, options: GenerateKeyOptions = {}): Promise<KeyInfo> {
  checkName(name, 'key')
  const { type = 'ed25519', comment = defaultComment(name) } = options
  if (type !== 'ed25519' && type !== 'rsa') {
    throw new AnyplaceError('invalid-argument', `A key's type is ed25519 or rsa (got ${JSON.stringify(type)}).`, {
      field: 'type',
    })
  }
  await assertFree(name, options)
  const { generatePrivateKey } = await import('../../providers/ssh/private-key.ts')
  return keep(name, await generatePrivateKey(type, comment), 'generated', options)
}

/**
 * Puts an existing private key into the vault: Ed25519 or RSA, in OpenSSH's format or PEM, encrypted or not.
 *
 * @throws AnyplaceError `already-exists`; `invalid-argument` when it is no private key, or with `data.cause`
 * `passphrase-needed`; `permission-denied` with `data.cause` `wrong-passphrase`; `unsupported` for other types of key;
 * `vault-locked`
 */
export async function addKey(name: string, options: AddKeyOptions): Promise<KeyInfo> {
  checkName(name, 'key')
  await assertFree(name, options)
  const { parsePrivateKey } = await import('../../providers/ssh/private-key.ts')
  const key = await parsePrivateKey(options.privateKey, options)
  return keep(name, key.comment === '' ? { ...key, comment: defaultComment(name) } : key, 'added', options)
}

/** Every key, in the order of their names. Opens nothing of the vault. */
export async function listKeys(options: StateOptions = {}): Promise<KeyInfo[]> {
  const entries = await withStore(options, (store) => store.list(KEYS))
  return entries.map(({ key, value }) => keyInfo(key, value as unknown as KeyRecord))
}

/**
 * One key's public half.
 *
 * @throws AnyplaceError `not-found`
 */
export async function getKey(name: string, options: StateOptions = {}): Promise<KeyInfo> {
  return withStore(options, async (store) => keyInfo(name, (await readKey(store, name)).record))
}

/**
 * Removes a key for good.
 *
 * @throws AnyplaceError `not-found`; `conflict` while a node uses it
 */
export async function removeKey(name: string, options: StateOptions = {}): Promise<void> {
  await withStore(options, async (store) => {
    const { record, version } = await readKey(store, name)
    assertUnused(name, await nodesWithKey(store, name))
    if (!(await store.delete(KEYS, name, version))) {
      throw new AnyplaceError('conflict', `The key ${JSON.stringify(name)} was changed meanwhile.`, {
        hint: 'try again',
      })
    }
    // A node that was added in between looks for its key after it is in the store: one of us sees the other.
    const users = await nodesWithKey(store, name)
    if (users.length > 0) {
      await store.compareAndSet(KEYS, name, 0, toJson(record))
      assertUnused(name, users)
    }
    await removeSealed(store, record.vaultName)
  })
}

/**
 * The private half of a key, in memory.
 *
 * @throws AnyplaceError `not-found`, `vault-locked`
 */
export async function openKey(name: string, options: VaultOptions = {}): Promise<PrivateKey> {
  const { record } = await withStore(options, (store) => readKey(store, name))
  const pem = Buffer.from(await withVault(options, (vault) => vault.open(record.vaultName))).toString('utf8')
  const { parsePrivateKey } = await import('../../providers/ssh/private-key.ts')
  const key = await parsePrivateKey(pem, { comment: record.comment })
  if (key.fingerprint === record.fingerprint) return key
  throw new AnyplaceError('vault-locked', `What the vault holds for ${JSON.stringify(name)} is another key.`, {
    hint: `remove it and add it anew: anyplace keys rm ${name}`,
  })
}

async function keep(name: string, key: PrivateKey, origin: KeyInfo['origin'], options: VaultOptions): Promise<KeyInfo> {
  const { publicKeyLine, publicKeyOfPem } = await import('../../providers/ssh/public-key.ts')
  const { type, bits, fingerprint, blob }: PublicKey = publicKeyOfPem(key.pem)
  const record: KeyRecord = {
    type,
    bits,
    fingerprint,
    comment: key.comment,
    origin,
    createdAt: new Date().toISOString(),
    publicKey: publicKeyLine({ type, blob }, key.comment),
    // A name of its own: of two that add the same name at once, neither writes over the other's.
    vaultName: `ssh-key/${newId()}`,
  }
  await withVault(options, async (vault) => {
    await vault.seal(record.vaultName, Buffer.from(key.pem, 'utf8'))
    const version = await withStore(options, (store) => store.compareAndSet(KEYS, name, 0, toJson(record)))
    if (version !== undefined) return
    await vault.remove(record.vaultName)
    throw taken(name)
  })
  return keyInfo(name, record)
}

/** Told before the work of making or reading a key; `keep` is what decides. */
async function assertFree(name: string, options: StateOptions): Promise<void> {
  if ((await withStore(options, (store) => store.get(KEYS, name))) !== undefined) throw taken(name)
}

function taken(name: string): AnyplaceError {
  return new AnyplaceError('already-exists', `There is a key named ${JSON.stringify(name)} already.`, {
    field: 'name',
    hint: `choose another name, or remove it: anyplace keys rm ${name}`,
  })
}

function assertUnused(name: string, nodes: readonly string[]): void {
  if (nodes.length === 0) return
  const list = nodes.map((node) => JSON.stringify(node)).join(', ')
  throw new AnyplaceError(
    'conflict',
    `The key ${JSON.stringify(name)} is used by ${nodes.length === 1 ? 'node' : 'nodes'} ${list}.`,
    {
      hint: `remove the node first: anyplace nodes rm ${nodes[0] ?? ''}`,
    },
  )
}

function defaultComment(name: string): string {
  return `anyplace:${name}`
}
