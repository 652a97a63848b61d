import { readFile, stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { AnyplaceError } from '../../spec/errors.ts'
import { fileError } from '../../kit/file-error.ts'
import type { CliIo } from '../cli-io.ts'
import { defineCommand, flag, value } from '../command.ts'
import { parseText } from '../parse-values.ts'
import { askSecret, canAsk } from '../prompt.ts'
import { readSecret } from '../read-secret.ts'
import { removeEach } from '../remove-each.ts'
import { given } from '../sandbox-request.ts'
import { jsonOption } from '../shared-options.ts'
import { table } from '../table.ts'
import { ValueFault } from '../value-fault.ts'
import { heads } from '../verb-heads.ts'

const MAX_KEY_BYTES = 1024 * 1024

const nameArgument = { placeholder: 'NAME', summary: 'name to call it by', presence: 'required' } as const
const keyArgument = {
  placeholder: 'KEY',
  summary: 'name of a key, as `anyplace keys list` shows it',
  presence: 'required',
} as const
const comment = value('TEXT', 'comment behind the public key (default: anyplace:NAME)', parseText)

export const keysGenerateCommand = defineCommand({
  ...heads['keys generate'],
  details:
    'The private half goes into the vault, encrypted, and never to disk in the clear: ssh gets it through a private agent ' +
    'socket when a connection is made.',
  examples: [
    { command: 'anyplace keys generate work', summary: 'an Ed25519 key' },
    {
      command: 'anyplace keys generate old-host --type rsa',
      summary: 'RSA of 4096 bits, for hosts that know nothing newer',
    },
  ],
  arguments: { name: nameArgument },
  options: { type: value('TYPE', 'ed25519 or rsa (default: ed25519)', parseKeyType), comment, ...jsonOption },
  async run({ arguments: { name }, options, reporter, api }) {
    const { generateKey } = await api()
    const key = await generateKey(name, { ...given('type', options.type), ...given('comment', options.comment) })
    await reporter.result({ key }, `${key.publicKey}\n`)
  },
})

export const keysAddCommand = defineCommand({
  ...heads['keys add'],
  details:
    'FILE is what ssh-keygen made (OpenSSH or PEM format, Ed25519 or RSA), or - for stdin. The passphrase of an encrypted ' +
    "key is asked for on a terminal; it is kept nowhere, since the vault's own encryption takes its place.",
  examples: [
    { command: 'anyplace keys add work ~/.ssh/id_ed25519', summary: 'an existing key; the file stays as it is' },
    { command: 'anyplace keys add ci - --passphrase-env KEY_PASSPHRASE < key', summary: 'in a script' },
  ],
  otherOptions: {
    passphrase: 'others can read arguments: use --passphrase-env NAME or --passphrase-file FILE',
    type: 'the file says it',
  },
  arguments: {
    name: nameArgument,
    file: { placeholder: 'FILE', summary: 'private key file, or - for stdin', presence: 'required' },
  },
  options: {
    passphraseEnv: value('NAME', 'environment variable that holds the passphrase', parseText),
    passphraseFile: value('FILE', 'file whose first line is the passphrase', parseText),
    comment: value('TEXT', 'comment behind the public key (default: the one in the file)', parseText),
    ...jsonOption,
  },
  async run({ arguments: { name, file }, options, io, reporter, api }) {
    const passphrase = await readSecret(io, 'passphrase', { env: options.passphraseEnv, file: options.passphraseFile })
    const privateKey = await readKeyFile(io, file)
    const { addKey } = await api()
    const add = (secret: string | undefined) =>
      addKey(name, { privateKey, ...given('passphrase', secret), ...given('comment', options.comment) })
    const key = await add(passphrase).catch(async (error: unknown) => {
      const isNeeded = AnyplaceError.is(error) && error.data?.['cause'] === 'passphrase-needed'
      if (!isNeeded || file === '-' || !canAsk(io)) throw isNeeded ? withOptions(error) : error
      return add(await askSecret(io, `Passphrase of ${file}: `))
    })
    await reporter.result({ key }, `${key.publicKey}\n`)
  },
})

export const keysListCommand = defineCommand({
  ...heads['keys list'],
  examples: [{ command: 'anyplace keys list', summary: 'names, types and fingerprints' }],
  arguments: {},
  options: { quiet: flag('print names only', 'q'), ...jsonOption },
  async run({ options, reporter, api }) {
    const { listKeys } = await api()
    const keys = await listKeys()
    const text = options.quiet
      ? keys.map(({ name }) => `${name}\n`).join('')
      : keys.length === 0
        ? 'No keys. Make one: anyplace keys generate NAME\n'
        : table(
            ['NAME', 'TYPE', 'BITS', 'FINGERPRINT', 'COMMENT'],
            keys.map((key) => [key.name, key.type, String(key.bits), key.fingerprint, key.comment]),
          )
    await reporter.result({ keys }, text)
  },
})

export const keysShowCommand = defineCommand({
  ...heads['keys show'],
  details: 'The private half is shown by nothing.',
  examples: [
    { command: 'anyplace keys show work', summary: 'the line for authorized_keys' },
    { command: 'anyplace keys show -l work', summary: 'its fingerprint, as ssh-keygen -l prints it' },
  ],
  arguments: { key: keyArgument },
  options: { fingerprint: flag('print the fingerprint instead, as ssh-keygen -l does', 'l'), ...jsonOption },
  async run({ arguments: { key: name }, options, reporter, api }) {
    const { getKey } = await api()
    const key = await getKey(name)
    const word = key.type === 'ssh-rsa' ? 'RSA' : 'ED25519'
    const line = options.fingerprint
      ? `${key.bits} ${key.fingerprint} ${key.comment || 'no comment'} (${word})`
      : key.publicKey
    await reporter.result({ key }, `${line}\n`)
  },
})

export const keysRmCommand = defineCommand({
  ...heads['keys rm'],
  details: 'Hosts that have its public half keep it; remove it there as well.',
  examples: [{ command: 'anyplace keys rm work', summary: 'refused while a node uses it' }],
  otherOptions: { force: 'remove the node that uses it first: anyplace nodes rm NODE' },
  arguments: { keys: { ...keyArgument, presence: 'one-or-more' } },
  options: { ...jsonOption },
  async run({ arguments: { keys }, io, reporter, api }) {
    const { removeKey } = await api()
    return removeEach(keys, 'key', (key) => removeKey(key), io, reporter)
  },
})

function parseKeyType(text: string): 'ed25519' | 'rsa' {
  if (text === 'ed25519' || text === 'rsa') return text
  throw new ValueFault(`${JSON.stringify(text)} is no type of key that is made here`, 'ed25519')
}

async function readKeyFile(io: CliIo, file: string): Promise<Uint8Array> {
  if (file === '-') {
    const chunks: Buffer[] = []
    let length = 0
    for await (const chunk of io.stdin as AsyncIterable<Buffer>) {
      chunks.push(chunk)
      length += chunk.byteLength
      if (length > MAX_KEY_BYTES) break
    }
    return Buffer.concat(chunks)
  }
  const path = resolve(io.cwd, file)
  try {
    // The library says that it is too large; here it is only not read.
    if ((await stat(path)).size > MAX_KEY_BYTES) return new Uint8Array(MAX_KEY_BYTES + 1)
    return await readFile(path)
  } catch (error) {
    throw fileError(error, 'read the key', path)
  }
}

function withOptions(error: AnyplaceError): AnyplaceError {
  return new AnyplaceError(error.code, error.message, {
    field: error.field,
    data: error.data,
    hint: 'give it with --passphrase-env NAME or --passphrase-file FILE, or call this on a terminal',
  })
}
