import { execFileSync } from 'node:child_process'
import { createPrivateKey, generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { AnyplaceError } from '../../spec/index.ts'
import { generatePrivateKey, parsePrivateKey } from './private-key.ts'
import { cleanComment, publicKeyLine, publicKeyOf } from './public-key.ts'

let directory = ''
let count = 0
beforeAll(() => void (directory = mkdtempSync(join(tmpdir(), 'anyplace-keys-'))))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

interface MadeKey {
  readonly path: string
  readonly text: string
  /** The line of its .pub file. */
  readonly line: string
  /** What `ssh-keygen -l` prints: bits, fingerprint, comment, type. */
  readonly listing: string
}

function keygen(...argv: readonly string[]): string {
  return execFileSync('ssh-keygen', argv, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

function make(argv: readonly string[], passphrase = ''): MadeKey {
  const path = join(directory, `key${count++}`)
  keygen('-q', '-N', passphrase, '-C', 'ann@host', '-f', path, ...argv)
  return {
    path,
    text: readFileSync(path, 'utf8'),
    line: readFileSync(`${path}.pub`, 'utf8').trim(),
    listing: keygen('-lf', `${path}.pub`).trim(),
  }
}

async function failureOf(promise: Promise<unknown>): Promise<AnyplaceError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  if (!AnyplaceError.is(error)) throw new Error(`not one of ours: ${String(error)}`)
  return error
}

const PASSPHRASE = 'pass phräse "1"'
const RSA = ['-t', 'rsa', '-b', '2048']
const ED = ['-t', 'ed25519']
/** -a 1: few rounds, so that it is quick. */
const CIPHERS = [
  'aes128-ctr',
  'aes192-ctr',
  'aes256-ctr',
  'aes128-cbc',
  'aes192-cbc',
  'aes256-cbc',
  'aes128-gcm@openssh.com',
  'aes256-gcm@openssh.com',
]

describe('what ssh-keygen made is read as ssh-keygen reads it', () => {
  const kinds: (readonly [name: string, argv: readonly string[], passphrase: string])[] = [
    ['Ed25519', ED, ''],
    ['RSA', RSA, ''],
    ['RSA 3072', ['-t', 'rsa', '-b', '3072'], ''],
    ['RSA, PKCS#1', [...RSA, '-m', 'PEM'], ''],
    ['RSA, PKCS#8', [...RSA, '-m', 'PKCS8'], ''],
    ['Ed25519, encrypted', ED, PASSPHRASE],
    ['RSA, encrypted', RSA, PASSPHRASE],
    ['RSA, PKCS#1, encrypted', [...RSA, '-m', 'PEM'], PASSPHRASE],
    ['RSA, PKCS#8, encrypted', [...RSA, '-m', 'PKCS8'], PASSPHRASE],
    ...CIPHERS.map((cipher) => [cipher, [...ED, '-a', '1', '-Z', cipher], PASSPHRASE] as const),
  ]
  test.each(kinds)('%s', async (_, argv, passphrase) => {
    const made = make(argv, passphrase)
    const key = await parsePrivateKey(made.text, { ...(passphrase ? { passphrase } : {}), comment: 'ann@host' })
    expect(publicKeyLine({ type: key.type, blob: key.publicBlob }, key.comment)).toBe(made.line)
    const { bits = 0, type } = publicKeyOf(createPrivateKey(key.pem)) ?? {}
    expect(`${bits} ${key.fingerprint} ${key.comment} (${type === 'ssh-rsa' ? 'RSA' : 'ED25519'})`).toBe(made.listing)
    // The key itself is the same one: ssh-keygen derives the same public half from what we kept.
    if (type === 'ssh-rsa') {
      const path = join(directory, `kept${count++}`)
      writeFileSync(path, key.pem, { mode: 0o600 })
      expect(keygen('-y', '-f', path).split(' ')[1]?.trim()).toBe(made.line.split(' ')[1])
    }
    if (!passphrase) return
    for (const wrong of ['', undefined]) {
      expect(await failureOf(parsePrivateKey(made.text, { passphrase: wrong }))).toMatchObject({
        code: 'invalid-argument',
        data: { cause: 'passphrase-needed' },
      })
    }
    const failure = await failureOf(parsePrivateKey(made.text, { passphrase: 'hunter2' }))
    expect(failure).toMatchObject({ code: 'permission-denied', data: { cause: 'wrong-passphrase' } })
    expect(`${JSON.stringify(failure)}${failure.stack}`).not.toContain('hunter2')
  })

  test('a comment in the file is kept, as bytes of the file or as text; lines may end with a carriage return', async () => {
    const made = make(ED)
    expect((await parsePrivateKey(made.text)).comment).toBe('ann@host')
    expect((await parsePrivateKey(Buffer.from(made.text.replaceAll('\n', '\r\n')))).comment).toBe('ann@host')
  })
})

test('what we make is a key that OpenSSH takes', async () => {
  for (const [type, listing] of [
    ['ed25519', /^256 (\S+) my key \(ED25519\)$/],
    ['rsa', /^4096 (\S+) my key \(RSA\)$/],
  ] as const) {
    const key = await generatePrivateKey(type, 'my key')
    const path = join(directory, `${type}.pub`)
    writeFileSync(path, publicKeyLine({ type: key.type, blob: key.publicBlob }, key.comment))
    expect(listing.exec(keygen('-lf', path).trim())?.[1]).toBe(key.fingerprint)
    expect(await parsePrivateKey(key.pem, { comment: 'my key' })).toEqual(key)
  }
})

test('other keys are refused with what to do', async () => {
  const cases: [text: string, code: string, words: string][] = [
    [make(['-t', 'ecdsa']).text, 'unsupported', 'ecdsa-sha2-nistp256'],
    [make(['-t', 'ecdsa'], PASSPHRASE).text, 'unsupported', 'ecdsa-sha2-nistp256'],
    [make(['-t', 'ecdsa', '-m', 'PEM']).text, 'unsupported', 'ECDSA'],
    [make(['-t', 'ecdsa', '-m', 'PKCS8']).text, 'unsupported', 'ec'],
    [make(['-t', 'rsa', '-b', '1024']).text, 'unsupported', '1024 bits'],
    [make([...ED, '-Z', 'chacha20-poly1305@openssh.com'], 'x').text, 'unsupported', 'chacha20'],
    [make(ED).line, 'invalid-argument', 'public half'],
    [keygen('-e', '-f', make(RSA).path), 'invalid-argument', 'public half'],
    [keygen('-e', '-m', 'PKCS8', '-f', make(RSA).path), 'invalid-argument', 'public half'],
    ['PuTTY-User-Key-File-3: ssh-ed25519\n', 'unsupported', "PuTTY's"],
    ['-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----', 'invalid-argument', 'certificate'],
    ['', 'invalid-argument', 'no line'],
    ['hello', 'invalid-argument', 'no line'],
    ['x'.repeat(2 ** 20 + 1), 'invalid-argument', '1 MiB'],
  ]
  for (const [text, code, words] of cases) {
    const failure = await failureOf(parsePrivateKey(text))
    expect([failure.code, failure.message]).toEqual([code, expect.stringContaining(words)])
    expect(failure.hint).toBeTruthy()
  }
})

test('a file that was cut or changed anywhere is never taken, and its error quotes nothing of it', async () => {
  const originals = [make(ED), make([...RSA]), make([...RSA, '-m', 'PEM'])]
  const wholes = await Promise.all(originals.map(({ text }) => parsePrivateKey(text)))
  await fc.assert(
    fc.asyncProperty(
      fc.nat(2),
      fc.nat(),
      fc.integer({ min: 1, max: 255 }),
      fc.boolean(),
      async (which, at, change, cut) => {
        const lines = originals[which]!.text.trim().split('\n')
        const body = Buffer.from(lines.slice(1, -1).join(''), 'base64')
        const place = at % body.length
        if (!cut) body[place]! ^= change
        const changed = (cut ? body.subarray(0, place) : body).toString('base64')
        const result = await parsePrivateKey(`${lines[0]}\n${changed}\n${lines.at(-1)}`).catch(
          (error: unknown) => error,
        )
        if (AnyplaceError.is(result)) {
          expect(`${result.message}${result.hint}`).not.toContain(changed.slice(0, 16) || '\0')
          return
        }
        // What was changed then is no part of the key: a number that is computed anew, or the comment.
        expect(result).toMatchObject({ fingerprint: wholes[which]?.fingerprint })
      },
    ),
    { numRuns: 150 },
  )
})

test('a comment stays on its line', () => {
  expect(cleanComment('a\nssh-ed25519 AAAA evil\r\u2028b\0')).toBe('a ssh-ed25519 AAAA evil b')
  const { publicKey } = generateKeyPairSync('ed25519')
  expect(publicKeyLine(publicKeyOf(publicKey)!, '')).toMatch(/^ssh-ed25519 \S+$/)
})
