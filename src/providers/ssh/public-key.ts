import { createHash, createPublicKey } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { AnyplaceError } from '../../spec/index.ts'
import { wireInteger, wireString } from './ssh-wire.ts'

/** The types of key that Anyplace makes, keeps and uses. */
export type KeyType = 'ssh-ed25519' | 'ssh-rsa'

/** What of a key everybody may know. */
export interface PublicKey {
  readonly type: KeyType
  /** 256 for Ed25519, the modulus for RSA. */
  readonly bits: number
  /** The key in SSH wire form. */
  readonly blob: Uint8Array
  /** `SHA256:…` as `ssh-keygen -l` prints it. */
  readonly fingerprint: string
}

/** The public half of a key; undefined when it is neither Ed25519 nor RSA. */
export function publicKeyOf(key: KeyObject): PublicKey | undefined {
  const {
    kty,
    crv,
    x = '',
    e = '',
    n = '',
  } = (key.type === 'private' ? createPublicKey(key) : key).export({ format: 'jwk' })
  if (kty === 'OKP' && crv === 'Ed25519') {
    return described('ssh-ed25519', 256, [wireString(Buffer.from(x, 'base64url'))])
  }
  if (kty !== 'RSA') return undefined
  const modulus = Buffer.from(n, 'base64url')
  const bits = modulus.length * 8 - Math.clz32(modulus[0] ?? 0) + 24
  return described('ssh-rsa', bits, [wireInteger(Buffer.from(e, 'base64url')), wireInteger(modulus)])
}

/** The public half of a private key in PEM form that was read or made by us. */
export function publicKeyOfPem(pem: string): PublicKey {
  const known = publicKeyOf(createPublicKey(pem))
  if (known === undefined) throw new AnyplaceError('internal', 'A key that was read is of no known type.')
  return known
}

function described(type: KeyType, bits: number, fields: readonly Buffer[]): PublicKey {
  const blob = Buffer.concat([wireString(type), ...fields])
  return { type, bits, blob, fingerprint: fingerprintOf(blob) }
}

/** `SHA256:…` of a public key in SSH wire form, as OpenSSH prints it. */
export function fingerprintOf(blob: Uint8Array): string {
  return `SHA256:${createHash('sha256').update(blob).digest('base64').replace(/=+$/, '')}`
}

/** One line of authorized_keys, without a line feed. */
export function publicKeyLine(key: { readonly type: string; readonly blob: Uint8Array }, comment: string): string {
  return `${key.type} ${Buffer.from(key.blob).toString('base64')} ${cleanComment(comment)}`.trimEnd()
}

const MAX_COMMENT = 256

/** A comment that stays on its line: a line feed in it would be another line of authorized_keys. */
export function cleanComment(comment: string): string {
  return comment
    .replace(/[\p{Cc}\p{Zl}\p{Zp}\p{Surrogate}]+/gu, ' ')
    .trim()
    .slice(0, MAX_COMMENT)
}
