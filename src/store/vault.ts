import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { AnyplaceError } from '../spec/index.ts'
import { openStore } from './open-store.ts'
import { stateDirectory } from './state-directory.ts'
import type { JsonValue, Store } from './store.ts'
import { keyFromBase64, keyFromFile, keyFromPassphrase, newScryptParameters } from './vault-key.ts'
import type { ScryptParameters } from './vault-key.ts'

/** Where the vault's key comes from. */
export type VaultKeySource =
  | { readonly from: 'file' }
  | { readonly from: 'environment' }
  | { readonly from: 'passphrase'; readonly passphrase: string }

/** Secrets at rest, encrypted. Each has a name, which is not secret. */
export interface Vault extends AsyncDisposable {
  /** Puts a secret in, over one of the same name. */
  seal(name: string, bytes: Uint8Array): Promise<void>
  /**
   * @throws AnyplaceError `not-found`; `vault-locked` when what is stored was changed, cut or belongs to another name
   */
  open(name: string): Promise<Uint8Array>
  /** Names in order; nothing is decrypted. */
  list(): Promise<readonly string[]>
  /** True when there was such a secret. */
  remove(name: string): Promise<boolean>
  /** Forgets the key. Idempotent. */
  close(): Promise<void>
}

const NAMESPACE = 'vault'
const LOCK = { namespace: 'vault-lock', key: 'lock' } as const
const KEY_VARIABLE = 'ANYPLACE_VAULT_KEY'
const PASSPHRASE_VARIABLE = 'ANYPLACE_VAULT_PASSPHRASE'
const CHECK_NAME = '\0check'
const NONCE_BYTES = 12
const TAG_BYTES = 16
const MAX_NAME_BYTES = 256

/** What is stored of the key: where it came from, and one sealed value to tell a wrong key at once. */
interface Lock {
  readonly from: VaultKeySource['from']
  readonly scrypt: ScryptParameters | null
  readonly check: string
}

/**
 * Opens the vault of this user; a new one takes its key from the source given. AES-256-GCM with a random nonce for each
 * value, its name bound to it.
 *
 * @param options.directory @default the state directory
 * @param options.key @default the environment variable ANYPLACE_VAULT_KEY (base64 of 32 bytes) when it is set, else the
 * passphrase in ANYPLACE_VAULT_PASSPHRASE, else the file `vault.key` in the directory, which is made when the vault is new
 * @throws AnyplaceError `vault-locked` when the key is missing or is not the one that this vault was made with;
 * `permission-denied` when the key file is open to others
 */
export async function openVault(
  options: { readonly directory?: string | undefined; readonly key?: VaultKeySource | undefined } = {},
): Promise<Vault> {
  const directory = options.directory ?? stateDirectory()
  const source = options.key ?? defaultSource()
  const store = await openStore({ directory })
  try {
    return new SealedStore(store, await unlock(store, directory, source))
  } catch (error) {
    await store.close()
    throw error
  }
}

/** Removes a secret without the vault's key, which only reading one needs. True when there was such a secret. */
export function removeSealed(store: Store, name: string): Promise<boolean> {
  return store.delete(NAMESPACE, checkedName(name))
}

function defaultSource(): VaultKeySource {
  if (process.env[KEY_VARIABLE]) return { from: 'environment' }
  const passphrase = process.env[PASSPHRASE_VARIABLE]
  return passphrase ? { from: 'passphrase', passphrase } : { from: 'file' }
}

async function unlock(store: Store, directory: string, source: VaultKeySource): Promise<Buffer> {
  const entry = await store.get(LOCK.namespace, LOCK.key)
  const lock = entry?.value as Lock | undefined
  const scrypt = lock?.scrypt ?? (source.from === 'passphrase' && lock === undefined ? newScryptParameters() : null)
  const key = await keyOf(source, scrypt, directory, lock)
  if (lock !== undefined) {
    if (decrypt(key, CHECK_NAME, lock.check) === undefined) throw locked(lock, source)
    return key
  }
  const check = encrypt(key, CHECK_NAME, randomBytes(16))
  const made = { from: source.from, scrypt, check } satisfies Lock as unknown as JsonValue
  if ((await store.compareAndSet(LOCK.namespace, LOCK.key, 0, made)) !== undefined) return key
  // Another process made the vault meanwhile, perhaps with another key.
  return unlock(store, directory, source)
}

async function keyOf(
  source: VaultKeySource,
  scrypt: ScryptParameters | null,
  directory: string,
  lock: Lock | undefined,
): Promise<Buffer> {
  if (source.from === 'environment') {
    const text = process.env[KEY_VARIABLE]
    if (text) return keyFromBase64(text, KEY_VARIABLE)
    throw new AnyplaceError('vault-locked', `The vault's key is expected in ${KEY_VARIABLE}, which is not set.`)
  }
  if (source.from === 'passphrase') {
    if (source.passphrase === '') throw new AnyplaceError('invalid-argument', 'The passphrase is empty.')
    if (scrypt === null) throw locked(lock, source)
    return keyFromPassphrase(source.passphrase, scrypt)
  }
  const path = join(directory, 'vault.key')
  // A fresh key could open nothing of an old vault, and would hide that the right one is missing.
  const key = keyFromFile(path, { make: lock === undefined })
  if (key !== undefined) return key
  throw new AnyplaceError('vault-locked', `The vault's key file ${JSON.stringify(path)} is missing.`, {
    hint: lock?.from === 'file' ? 'restore it from a backup' : hintFor(lock),
  })
}

function locked(lock: Lock | undefined, source: VaultKeySource): AnyplaceError {
  const what = { file: 'key file', environment: `key in ${KEY_VARIABLE}`, passphrase: 'passphrase' }[source.from]
  return new AnyplaceError('vault-locked', `The ${what} does not open this vault.`, {
    hint: lock?.from === source.from ? undefined : hintFor(lock),
  })
}

function hintFor(lock: Lock | undefined): string | undefined {
  if (lock?.from === 'passphrase') return `this vault was made with a passphrase: set ${PASSPHRASE_VARIABLE}`
  if (lock?.from === 'environment') return `this vault was made with the key in ${KEY_VARIABLE}`
  return lock === undefined ? undefined : 'this vault was made with the key file vault.key'
}

class SealedStore implements Vault {
  readonly #store: Store
  readonly #key: Buffer
  #closed = false

  constructor(store: Store, key: Buffer) {
    this.#store = store
    this.#key = key
  }

  async seal(name: string, bytes: Uint8Array): Promise<void> {
    this.#assertOpen()
    await this.#store.set(NAMESPACE, checkedName(name), encrypt(this.#key, name, bytes))
  }

  async open(name: string): Promise<Uint8Array> {
    this.#assertOpen()
    const entry = await this.#store.get(NAMESPACE, checkedName(name))
    if (entry === undefined) throw new AnyplaceError('not-found', `No secret ${JSON.stringify(name)} in the vault.`)
    this.#assertOpen()
    const bytes = typeof entry.value === 'string' ? decrypt(this.#key, name, entry.value) : undefined
    if (bytes !== undefined) return bytes
    throw new AnyplaceError('vault-locked', `The secret ${JSON.stringify(name)} was changed since it was sealed.`, {
      hint: 'seal it anew',
    })
  }

  async list(): Promise<readonly string[]> {
    return (await this.#store.list(NAMESPACE)).map((entry) => entry.key)
  }

  async remove(name: string): Promise<boolean> {
    return removeSealed(this.#store, name)
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#key.fill(0)
    await this.#store.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** A closed vault's key is zeros, and must never seal anything. */
  #assertOpen(): void {
    if (this.#closed) throw new AnyplaceError('conflict', 'The vault is closed.')
  }
}

function encrypt(key: Buffer, name: string, bytes: Uint8Array): string {
  const nonce = randomBytes(NONCE_BYTES)
  const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES }).setAAD(boundTo(name))
  return Buffer.concat([nonce, cipher.update(bytes), cipher.final(), cipher.getAuthTag()]).toString('base64')
}

/** Undefined when key, name or value are not those of the sealing. */
function decrypt(key: Buffer, name: string, text: string): Uint8Array | undefined {
  const sealed = Buffer.from(text, 'base64')
  if (sealed.length < NONCE_BYTES + TAG_BYTES) return undefined
  const nonce = sealed.subarray(0, NONCE_BYTES)
  const tag = sealed.subarray(sealed.length - TAG_BYTES)
  const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES })
  decipher.setAAD(boundTo(name)).setAuthTag(tag)
  const head = decipher.update(sealed.subarray(NONCE_BYTES, sealed.length - TAG_BYTES))
  try {
    return Buffer.concat([head, decipher.final()])
  } catch {
    return undefined
  }
}

function boundTo(name: string): Buffer {
  return Buffer.from(`anyplace vault 1\0${name}`, 'utf8')
}

function checkedName(name: string): string {
  // Control characters would garble a listing, and the vault's own name begins with one.
  if (name === '' || Buffer.byteLength(name) > MAX_NAME_BYTES || /\p{Cc}|\p{Surrogate}/u.test(name)) {
    throw new AnyplaceError(
      'invalid-argument',
      `A secret's name must be 1 to ${MAX_NAME_BYTES} bytes of text without control characters.`,
      { field: 'name' },
    )
  }
  return name
}
