import { createDecipheriv, createPrivateKey } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { AnyplaceError } from '../../spec/index.ts'
import { keyFault, passphraseNeeded, unsupportedKey, wrongPassphrase } from './key-errors.ts'
import { WireReader } from './ssh-wire.ts'

const MAGIC = Buffer.from('openssh-key-v1\0', 'latin1')
/** ssh-keygen uses 16 or 24. Each takes some milliseconds, in which nothing else runs. */
const MAX_ROUNDS = 1000
const TAG_BYTES = 16
/** In front of the seed of an Ed25519 key, in PKCS#8. */
const ED25519_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex')

/** A private key out of a file in OpenSSH's own format. */
export interface OpenSshKey {
  readonly key: KeyObject
  /** The public half as the file tells it. */
  readonly publicBlob: Uint8Array
  readonly comment: string
}

/**
 * Reads the content of an `OPENSSH PRIVATE KEY` (PROTOCOL.key of OpenSSH).
 *
 * @throws AnyplaceError `invalid-argument` when it is damaged or a passphrase is missing, `permission-denied` when the
 * passphrase is wrong, `unsupported` for other types of key
 */
export async function readOpenSshKey(bytes: Uint8Array, passphrase: string | undefined): Promise<OpenSshKey> {
  try {
    const file = new WireReader(bytes)
    if (!file.take(MAGIC.length).equals(MAGIC)) throw keyFault('it is not in OpenSSH format')
    const cipher = file.text()
    const kdf = file.text()
    const kdfOptions = file.string()
    if (file.uint32() !== 1) throw unsupportedKey('a file with several keys')
    const publicBlob = file.string()
    const isKnown = ['ssh-ed25519', 'ssh-rsa'].includes(new WireReader(publicBlob).text())
    // Told before the passphrase is asked for: it would be of no use.
    if (!isKnown) throw unsupportedKey(`a key of type ${shown(new WireReader(publicBlob).text())}`)
    const sealed = file.string()
    const isSealed = cipher !== 'none'
    const content = isSealed ? await decrypt(cipher, kdf, kdfOptions, sealed, file, passphrase) : sealed
    return { ...readContent(content, isSealed), publicBlob }
  } catch (error) {
    if (AnyplaceError.is(error)) throw error
    throw keyFault('it is cut or damaged')
  }
}

async function decrypt(
  cipher: string,
  kdf: string,
  kdfOptions: Uint8Array,
  sealed: Uint8Array,
  behind: WireReader,
  passphrase: string | undefined,
): Promise<Buffer> {
  const [, bits = '', mode] = /^aes(128|192|256)-(ctr|cbc|gcm@openssh\.com)$/.exec(cipher) ?? []
  if (mode === undefined || kdf !== 'bcrypt') {
    throw unsupportedKey(
      `a key encrypted with ${shown(cipher)} and ${shown(kdf)}`,
      'write it anew: ssh-keygen -p -Z aes256-ctr -f FILE',
    )
  }
  if (passphrase === undefined || passphrase === '') throw passphraseNeeded()
  const options = new WireReader(kdfOptions)
  const salt = options.string()
  const rounds = options.uint32()
  if (rounds < 1 || rounds > MAX_ROUNDS) {
    throw unsupportedKey(
      `a key with ${rounds} rounds`,
      `write it anew with ${MAX_ROUNDS} at most: ssh-keygen -p -a 24 -f FILE`,
    )
  }
  const keyBytes = Number(bits) / 8
  const isGcm = mode.startsWith('gcm')
  const ivBytes = isGcm ? 12 : 16
  const { pbkdf } = await import('bcrypt-pbkdf')
  const derived = Buffer.alloc(keyBytes + ivBytes)
  const secret = Buffer.from(passphrase, 'utf8')
  try {
    if (pbkdf(secret, secret.length, salt, salt.length, derived, derived.length, rounds) !== 0) {
      throw keyFault('its salt is damaged')
    }
    const key = derived.subarray(0, keyBytes)
    const iv = derived.subarray(keyBytes)
    const decipher = isGcm
      ? createDecipheriv(`aes-${bits as '128' | '256'}-gcm`, key, iv, { authTagLength: TAG_BYTES }).setAuthTag(
          behind.take(TAG_BYTES),
        )
      : createDecipheriv(`aes-${bits}-${mode}`, key, iv).setAutoPadding(false)
    const head = decipher.update(sealed)
    try {
      return Buffer.concat([head, decipher.final()])
    } catch {
      throw wrongPassphrase()
    }
  } finally {
    secret.fill(0)
    derived.fill(0)
  }
}

function readContent(content: Buffer, isSealed: boolean): { readonly key: KeyObject; readonly comment: string } {
  const reader = new WireReader(content)
  // The same random number twice: how a wrong passphrase shows itself.
  if (reader.uint32() !== reader.uint32()) throw isSealed ? wrongPassphrase() : keyFault('it is damaged')
  const type = reader.text()
  const key = type === 'ssh-ed25519' ? readEd25519(reader) : readRsa(reader)
  const comment = reader.text()
  for (let expected = 1; reader.remaining > 0; expected++) {
    if (reader.byte() !== (expected & 0xff)) throw keyFault('it is damaged')
  }
  return { key, comment }
}

function readEd25519(reader: WireReader): KeyObject {
  reader.string() // the public key, which stands behind the seed once more
  const seed = reader.string().subarray(0, 32)
  return createPrivateKey({ key: Buffer.concat([ED25519_PREFIX, seed]), format: 'der', type: 'pkcs8' })
}

function readRsa(reader: WireReader): KeyObject {
  const [n, e, d, qi, p, q] = Array.from({ length: 6 }, () => reader.string()) as [
    Buffer,
    Buffer,
    Buffer,
    Buffer,
    Buffer,
    Buffer,
  ]
  const exponent = toNumber(d)
  const base64 = (bytes: Buffer): string => bytes.subarray(bytes.findIndex((byte) => byte !== 0)).toString('base64url')
  const jwk = {
    kty: 'RSA',
    n: base64(n),
    e: base64(e),
    d: base64(d),
    p: base64(p),
    q: base64(q),
    qi: base64(qi),
    dp: base64(toBytes(exponent % (toNumber(p) - 1n))),
    dq: base64(toBytes(exponent % (toNumber(q) - 1n))),
  }
  return createPrivateKey({ key: jwk, format: 'jwk' })
}

function toNumber(bytes: Buffer): bigint {
  return BigInt(`0x${bytes.toString('hex') || '0'}`)
}

function toBytes(value: bigint): Buffer {
  const hex = value.toString(16)
  return Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex')
}

/** A name out of the file, for a message. */
function shown(name: string): string {
  return JSON.stringify(name.slice(0, 40))
}
