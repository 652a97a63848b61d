import { AnyplaceError } from '../../spec/index.ts'
import { suggest } from '../../sandboxes/suggest.ts'
import type { KeyType } from '../../providers/ssh/public-key.ts'
import type { Store } from '../../store/store.ts'

/** What everybody may know of a key that Anyplace keeps. */
export interface KeyInfo {
  readonly name: string
  readonly type: KeyType
  /** 256 for Ed25519, the modulus for RSA. */
  readonly bits: number
  /** `SHA256:…` as `ssh-keygen -l` prints it. */
  readonly fingerprint: string
  readonly comment: string
  /** One line for authorized_keys, without a line feed. */
  readonly publicKey: string
  readonly origin: 'generated' | 'added'
  readonly createdAt: Date
}

/** As the store keeps it. The private half is in the vault under `vaultName`. */
export interface KeyRecord extends Omit<KeyInfo, 'name' | 'createdAt'> {
  readonly createdAt: string
  readonly vaultName: string
}

/** The namespace of the store that holds keys. */
export const KEYS = 'keys'

/** @throws AnyplaceError `not-found` that says what there is */
export async function readKey(
  store: Store,
  name: string,
): Promise<{ readonly record: KeyRecord; readonly version: number }> {
  const entry = await store.get(KEYS, name)
  if (entry !== undefined) return { record: entry.value as unknown as KeyRecord, version: entry.version }
  const names = (await store.list(KEYS)).map(({ key }) => key)
  const meant = suggest(name, names)
  throw new AnyplaceError('not-found', `No key named ${JSON.stringify(name)}.`, {
    field: 'key',
    hint:
      meant === undefined
        ? names.length === 0
          ? `make it: anyplace keys generate ${/^[\w.-]+$/.test(name) && !name.startsWith('-') ? name : 'NAME'}`
          : `there are ${names.join(', ')}`
        : `did you mean ${meant}?`,
  })
}

export function keyInfo(name: string, { vaultName: _, createdAt, ...rest }: KeyRecord): KeyInfo {
  return { name, ...rest, createdAt: new Date(createdAt) }
}
