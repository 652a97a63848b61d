import { createPrivateKey, sign } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { promisify } from 'node:util'
import { AnyplaceError } from '../../spec/index.ts'
import type { PrivateKey } from './ssh-target.ts'
import { WireReader, wireString, wireUint32 } from './ssh-wire.ts'

// Numbers of the agent's protocol (draft-ietf-sshm-ssh-agent).
const FAILURE = Buffer.from([5])
const REQUEST_IDENTITIES = 11
const IDENTITIES_ANSWER = 12
const SIGN_REQUEST = 13
const SIGN_RESPONSE = 14
const RSA_SHA2_256 = 2
const RSA_SHA2_512 = 4
// Of SSH's own protocol.
const USERAUTH_REQUEST = 50

const signAsync = promisify(sign)

interface Entry {
  readonly type: string
  readonly blob: Buffer
  readonly comment: string
  readonly key: KeyObject
}

/** What an agent with these keys says to a message. */
export interface AgentAnswers {
  /** Never rejects: whatever is not understood, not allowed or fails is answered with FAILURE. */
  answer(message: Buffer): Promise<Buffer>
  /** From now on there are no keys. */
  forget(): void
}

/**
 * The part of an ssh-agent that knows keys: it lists them and signs logins with them. Everything else (adding, removing,
 * locking, smart cards, extensions, SHA-1 signatures, data that is no login) is refused.
 *
 * @throws AnyplaceError `unsupported` for a key that is neither Ed25519 nor RSA
 */
export function agentAnswers(keys: readonly PrivateKey[]): AgentAnswers {
  let entries = keys.map(entryOf)
  return {
    async answer(message) {
      try {
        const reader = new WireReader(message)
        const type = reader.byte()
        if (type === REQUEST_IDENTITIES) return reader.remaining === 0 ? identities(entries) : FAILURE
        return type === SIGN_REQUEST ? await signature(entries, reader) : FAILURE
      } catch {
        return FAILURE
      }
    },
    forget() {
      entries = []
    },
  }
}

function entryOf({ type, publicBlob, comment, pem, fingerprint }: PrivateKey): Entry {
  const wanted = { 'ssh-ed25519': 'ed25519', 'ssh-rsa': 'rsa' }[type]
  let key: KeyObject | undefined
  try {
    key = createPrivateKey(pem)
  } catch {
    // The library's own error may quote what it could not read.
  }
  if (wanted === undefined || key?.asymmetricKeyType !== wanted) {
    throw new AnyplaceError('unsupported', `The key ${fingerprint} is no usable ${type} key.`, {
      hint: 'use an Ed25519 or RSA key',
    })
  }
  return { type, blob: Buffer.from(publicBlob), comment, key }
}

function identities(entries: readonly Entry[]): Buffer {
  return Buffer.concat([
    Buffer.from([IDENTITIES_ANSWER]),
    wireUint32(entries.length),
    ...entries.flatMap(({ blob, comment }) => [wireString(blob), wireString(comment)]),
  ])
}

async function signature(entries: readonly Entry[], reader: WireReader): Promise<Buffer> {
  const blob = reader.string()
  const data = reader.string()
  const flags = reader.uint32()
  const entry = entries.find((one) => one.blob.equals(blob))
  if (entry === undefined || reader.remaining !== 0 || !isLogin(data, blob)) return FAILURE
  const scheme = schemeOf(entry.type, flags)
  if (scheme === undefined) return FAILURE
  const signed = await signAsync(scheme.digest, data, entry.key)
  return Buffer.concat([
    Buffer.from([SIGN_RESPONSE]),
    wireString(Buffer.concat([wireString(scheme.name), wireString(signed)])),
  ])
}

function schemeOf(type: string, flags: number): { readonly name: string; readonly digest: string | null } | undefined {
  if (type === 'ssh-ed25519') return flags === 0 ? { name: type, digest: null } : undefined
  if (flags & RSA_SHA2_256) return { name: 'rsa-sha2-256', digest: 'sha256' }
  // Without a flag a SHA-1 signature is meant, which is not safe any more.
  return flags & RSA_SHA2_512 ? { name: 'rsa-sha2-512', digest: 'sha512' } : undefined
}

/**
 * True for what an SSH client signs to log in with this very key (RFC 4252, section 7). Anything else, such as a file or
 * a commit, is not ours to sign.
 */
function isLogin(data: Buffer, blob: Buffer): boolean {
  const reader = new WireReader(data)
  reader.string() // the session
  if (reader.byte() !== USERAUTH_REQUEST) return false
  reader.string() // the user
  if (reader.text() !== 'ssh-connection') return false
  const method = reader.text()
  if (method !== 'publickey' && method !== 'publickey-hostbound-v00@openssh.com') return false
  if (reader.byte() !== 1) return false
  reader.string() // the signature's algorithm
  if (!reader.string().equals(blob)) return false
  if (method !== 'publickey') reader.string() // the host's key
  return reader.remaining === 0
}
