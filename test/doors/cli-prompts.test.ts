import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { AnyplaceError } from '../../src/spec/index.ts'
import type { CliApi } from '../../src/cli/api.ts'
import type { KeyInfo } from '../../src/nodes/keys/key-records.ts'
import { callCli } from '../support/call-cli.ts'
import type { CliCall } from '../support/call-cli.ts'

let directory = ''
let file = ''
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'anyplace-prompts-'))
  file = join(directory, 'key')
  writeFileSync(file, 'a key')
  writeFileSync(join(directory, 'secret'), 'from a file\nsecond line\n')
})
afterAll(() => rmSync(directory, { recursive: true, force: true }))

/** A terminal on which somebody types; it remembers whether it is raw now, and what it was while the typing came. */
function keyboard(typed: string) {
  const modes: boolean[] = []
  const stdin = Object.assign(new PassThrough(), {
    isTTY: true,
    setRawMode(raw: boolean) {
      modes.push(raw)
      if (raw) stdin.write(typed)
      return stdin
    },
  })
  return { stdin, modes }
}

const KEY: KeyInfo = {
  name: 'work',
  type: 'ssh-ed25519',
  bits: 256,
  fingerprint: 'SHA256:x',
  comment: 'c',
  publicKey: 'ssh-ed25519 AAAA c',
  origin: 'added',
  createdAt: new Date(0),
}

async function onKeyboard(
  words: readonly string[],
  typed: string,
  api: Partial<CliApi>,
): Promise<CliCall & { modes: boolean[] }> {
  const { stdin, modes } = keyboard(typed)
  return { ...(await callCli(words, { api, stdin, terminal: true })), modes }
}

describe('the passphrase of a key', () => {
  const passphrases: (string | undefined)[] = []
  const addKey: CliApi['addKey'] = (_, { passphrase }) => {
    passphrases.push(passphrase)
    if (passphrase !== undefined) return Promise.resolve(KEY)
    const data = { cause: 'passphrase-needed' }
    return Promise.reject(new AnyplaceError('invalid-argument', 'It is encrypted.', { hint: 'give it', data }))
  }

  test('is asked for, is not shown, and may be corrected', async () => {
    passphrases.length = 0
    const call = await onKeyboard(['keys', 'add', 'work', file], 'huntre\u007F\u007Fer2 ö\u001B[A\r', { addKey })
    expect(call).toMatchObject({ code: 0, out: 'ssh-ed25519 AAAA c\n', modes: [true, false] })
    expect(passphrases).toEqual([undefined, 'hunter2 ö'])
    expect(call.err).toBe(`Passphrase of ${file}: \n`)
  })

  test.each(['\u0003', '\u0004', 'abc\u0003'])('%j gives up', async (typed) => {
    const call = await onKeyboard(['keys', 'add', 'work', file], typed, { addKey })
    expect(call).toMatchObject({ code: 130, out: '', modes: [true, false] })
  })

  test('is not asked for where nobody is there', async () => {
    const call = await callCli(['keys', 'add', 'work', file], { api: { addKey } })
    expect(call).toMatchObject({ code: 125, out: '' })
    expect(call.err).toContain('--passphrase-env')
  })

  test('comes from the environment or a file', async () => {
    passphrases.length = 0
    const env = { SECRET: 'from the environment' }
    await callCli(['keys', 'add', 'work', file, '--passphrase-env', 'SECRET'], { api: { addKey }, env })
    await callCli(['keys', 'add', 'work', file, '--passphrase-file', join(directory, 'secret')], { api: { addKey } })
    expect(passphrases).toEqual(['from the environment', 'from a file'])
    const call = await callCli(['keys', 'add', 'work', file, '--passphrase-file', '/none'], { api: { addKey } })
    expect(call.err).toContain('anyplace: file-not-found: Cannot read the passphrase from "/none"')
  })
})

describe('trusting a host', () => {
  const trustHost: CliApi['trustHost'] = async (host, options) => {
    const key = { type: 'ssh-ed25519', fingerprint: 'SHA256:abc' }
    const isSure = await options?.confirm?.({ host, keys: [key], pinned: [], knownToSsh: ['SHA256:abc'] })
    if (isSure !== true) throw new AnyplaceError('cancelled', 'Not confirmed.')
    return { host, added: [key] }
  }

  test('shows the fingerprints and takes yes', async () => {
    const call = await onKeyboard(['hosts', 'trust', 'box'], 'yes\r', { trustHost })
    expect(call).toMatchObject({ code: 0, out: 'box ssh-ed25519 SHA256:abc\n' })
    expect(call.err).toContain('ssh-ed25519 SHA256:abc  (in your known_hosts)')
    expect(call.err).toContain('Are they those of the host? (yes/no) yes')
  })

  test.each(['no\r', '\r', 'y\r', 'yes\u0003'])('%j is no yes', async (typed) => {
    expect(await onKeyboard(['hosts', 'trust', 'box'], typed, { trustHost })).toMatchObject({ code: 130, out: '' })
  })
})

describe('a password for copy-id', () => {
  const passwords: (string | undefined)[] = []
  const copyKey: CliApi['copyKey'] = (_, __, options) => {
    passwords.push(options?.password)
    if (options?.password !== undefined) return Promise.resolve({ wasAdded: true, isAccepted: true })
    return Promise.reject(new AnyplaceError('permission-denied', 'Refused.', { data: { cause: 'key-refused' } }))
  }

  test('is asked for when nothing else opens the host, or at once', async () => {
    passwords.length = 0
    const call = await onKeyboard(['keys', 'copy-id', 'work', 'box'], 'hunter2\r', { copyKey })
    expect(call).toMatchObject({ code: 0, out: 'box has the key work now.\n', err: 'Password for box: \n' })
    await onKeyboard(['keys', 'copy-id', 'work', 'box', '-p'], 'hunter3\n', { copyKey })
    expect(passwords).toEqual([undefined, 'hunter2', 'hunter3'])
  })

  test('is not asked for when another key was named', async () => {
    expect(await onKeyboard(['keys', 'copy-id', 'work', 'box', '--with', 'old'], '', { copyKey })).toMatchObject({
      code: 125,
    })
  })
})
