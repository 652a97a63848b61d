import { createPrivateKey, createPublicKey, generateKeyPair, randomBytes, sign, verify } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { promisify } from 'node:util'
import { keyFault, passphraseNeeded, unsupportedKey, wrongPassphrase } from './key-errors.ts'
import { cleanComment, publicKeyOf } from './public-key.ts'
import { readOpenSshKey } from './openssh-key.ts'
import type { PrivateKey } from './ssh-target.ts'

const generate = promisify(generateKeyPair)
const RSA_BITS = 4096
/** What hosts and libraries still take. */
const MIN_RSA_BITS = 2048
const MAX_FILE_BYTES = 1024 * 1024

/** Makes a new key: Ed25519, or RSA of 4096 bits (which takes a second or more). */
export async function generatePrivateKey(type: 'ed25519' | 'rsa', comment: string): Promise<PrivateKey> {
  const pair = type === 'ed25519' ? generate('ed25519') : generate('rsa', { modulusLength: RSA_BITS })
  return privateKeyOf((await pair).privateKey, comment)
}

/**
 * Reads a private key as a file holds it: OpenSSH's own format, or PEM (PKCS#1, PKCS#8), encrypted or not.
 *
 * @param options.comment @default the one in the file, else none
 * @throws AnyplaceError `invalid-argument` when it is no private key, or when it is encrypted and no passphrase was given
 * (cause `passphrase-needed`); `permission-denied` when the passphrase is wrong (cause `wrong-passphrase`);
 * `unsupported` for keys that are neither Ed25519 nor RSA
 */
export async function parsePrivateKey(
  file: Uint8Array | string,
  options: { readonly passphrase?: string | undefined; readonly comment?: string | undefined } = {},
): Promise<PrivateKey> {
  if (file.length > MAX_FILE_BYTES) throw keyFault('it is larger than 1 MiB')
  const text = typeof file === 'string' ? file : Buffer.from(file).toString('latin1')
  const [block, label, body = ''] = /-----BEGIN ([A-Z0-9 ]+)-----([^]*?)-----END \1-----/.exec(text) ?? []
  if (block === undefined || label === undefined) throw noPem(text)
  switch (label) {
    case 'OPENSSH PRIVATE KEY': {
      const read = await readOpenSshKey(Buffer.from(body, 'base64'), options.passphrase)
      const key = privateKeyOf(read.key, options.comment ?? read.comment)
      if (!Buffer.from(read.publicBlob).equals(key.publicBlob)) throw keyFault('its halves do not belong together')
      return key
    }
    case 'RSA PRIVATE KEY':
    case 'PRIVATE KEY':
    case 'ENCRYPTED PRIVATE KEY':
      return privateKeyOf(readPem(block, isEncrypted(label, body), options.passphrase), options.comment ?? '')
    case 'EC PRIVATE KEY':
      throw unsupportedKey('an ECDSA key')
    case 'DSA PRIVATE KEY':
      throw unsupportedKey('a DSA key')
    default:
      throw label.includes('PUBLIC') ? publicHalf() : keyFault(`it holds ${label.toLowerCase()}`)
  }
}

function isEncrypted(label: string, body: string): boolean {
  return label.startsWith('ENCRYPTED') || /^\s*Proc-Type: *4,ENCRYPTED/.test(body)
}

function readPem(block: string, encrypted: boolean, passphrase: string | undefined): KeyObject {
  if (encrypted && (passphrase === undefined || passphrase === '')) throw passphraseNeeded()
  try {
    return createPrivateKey({ key: block, format: 'pem', ...(encrypted ? { passphrase } : {}) })
  } catch (error) {
    if (!encrypted) throw keyFault('it is cut or damaged')
    const code = error instanceof Error && 'code' in error ? String(error.code) : ''
    if (code === 'ERR_OSSL_UNSUPPORTED') {
      throw unsupportedKey('the cipher that this key is encrypted with', 'write it anew: ssh-keygen -p -f FILE')
    }
    // What a wrong passphrase gives is noise, which fails in one way or another.
    throw wrongPassphrase()
  }
}

function privateKeyOf(key: KeyObject, comment: string): PrivateKey {
  const known = publicKeyOf(key)
  if (known === undefined) throw unsupportedKey(`a key of type ${key.asymmetricKeyType ?? 'unknown'}`)
  if (known.type === 'ssh-rsa' && known.bits < MIN_RSA_BITS) {
    throw unsupportedKey(`an RSA key of ${known.bits} bits`, `make one of ${MIN_RSA_BITS} bits or more`)
  }
  if (!signsRight(key)) throw keyFault('its numbers do not belong together')
  return {
    type: known.type,
    publicBlob: known.blob,
    fingerprint: known.fingerprint,
    comment: cleanComment(comment),
    pem: key.export({ type: 'pkcs8', format: 'pem' }).toString(),
  }
}

/** A damaged RSA key may sign wrongly, which would tell its secret to who sees the signature. */
function signsRight(key: KeyObject): boolean {
  const digest = key.asymmetricKeyType === 'rsa' ? 'sha256' : null
  const data = randomBytes(32)
  try {
    return verify(digest, data, createPublicKey(key), sign(digest, data, key))
  } catch {
    return false
  }
}

function noPem(text: string): Error {
  const begin = text.slice(0, 200).trimStart()
  if (begin.startsWith('PuTTY-User-Key-File')) {
    return unsupportedKey("PuTTY's own format", 'convert it: puttygen KEY.ppk -O private-openssh -o KEY')
  }
  if (/^(ssh-|ecdsa-|sk-|---- BEGIN SSH2 PUBLIC)/.test(begin)) return publicHalf()
  return keyFault('it has no line such as "-----BEGIN OPENSSH PRIVATE KEY-----"')
}

function publicHalf(): Error {
  return keyFault('it is the public half', 'give the private one: the file of the same name without .pub')
}
