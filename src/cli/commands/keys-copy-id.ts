import { resolve } from 'node:path'
import { AnyplaceError } from '../../spec/errors.ts'
import { defineCommand, flag, value } from '../command.ts'
import { parseText } from '../parse-values.ts'
import { askSecret, canAsk } from '../prompt.ts'
import { readSecret } from '../read-secret.ts'
import { given } from '../sandbox-request.ts'
import { jsonOption } from '../shared-options.ts'
import { usageError } from '../usage-error.ts'
import { heads } from '../verb-heads.ts'

export const keysCopyIdCommand = defineCommand({
  ...heads['keys copy-id'],
  details:
    'HOST is a node, or host, host:port or user@host:port; its key must be trusted before (anyplace hosts trust). Logs in with ' +
    'what your own ssh would use, another key, or a password, which is asked for on a terminal when nothing else works. Doing ' +
    'it again changes nothing.',
  examples: [
    { command: 'anyplace keys copy-id work ann@gpu.example.com', summary: 'asks for the password when it must' },
    { command: 'anyplace keys copy-id work gpu-box --with old', summary: 'logs in with another key' },
    { command: 'anyplace keys copy-id work gpu-box --password-file pw', summary: 'in a script' },
  ],
  otherOptions: {
    password: 'others can read arguments: use --password-env NAME or --password-file FILE, or -p to be asked',
    key: 'the key stands in front of the host; the one to log in with is --with KEY',
    port: 'write HOST as host:port',
    user: 'write HOST as user@host',
  },
  arguments: {
    key: { placeholder: 'KEY', summary: 'name of the key to install', presence: 'required' },
    host: { placeholder: 'HOST', summary: 'a node, host, host:port or user@host:port', presence: 'required' },
  },
  options: {
    with: value('KEY', 'log in with another key that Anyplace keeps', parseText),
    identity: value('FILE', 'log in with a private key file', parseText),
    askPassword: flag('ask for a password at once', 'p'),
    passwordEnv: value('NAME', 'environment variable that holds the password', parseText),
    passwordFile: value('FILE', 'file whose first line is the password', parseText),
    ...jsonOption,
  },
  async run({ arguments: { key, host }, options, io, reporter, api }) {
    const fromOptions = await readSecret(io, 'password', { env: options.passwordEnv, file: options.passwordFile })
    if (options.askPassword && !canAsk(io)) {
      throw usageError('A terminal is needed to ask for a password.', 'use --password-env NAME or --password-file FILE')
    }
    const question = `Password for ${host}: `
    const password = fromOptions ?? (options.askPassword ? await askSecret(io, question) : undefined)
    const { copyKey } = await api()
    const copy = (secret: string | undefined) =>
      copyKey(key, host, {
        ...given('password', secret),
        ...given('with', options.with),
        ...given('identityFile', options.identity === undefined ? undefined : resolve(io.cwd, options.identity)),
        signal: io.signal,
      })
    const isOpen = password === undefined && options.with === undefined && options.identity === undefined
    const copied = await copy(password).catch(async (error: unknown) => {
      const isRefused = AnyplaceError.is(error) && error.data?.['cause'] === 'key-refused'
      if (!isOpen || !isRefused || !canAsk(io)) throw error
      return copy(await askSecret(io, question))
    })
    const said = copied.wasAdded ? `${host} has the key ${key} now.` : `${host} had the key ${key} already.`
    if (!copied.isAccepted) {
      reporter.note(`${host} does not let us in with it: its server may look for keys elsewhere, or refuse their modes`)
    }
    await reporter.result({ key, host, ...copied }, `${said}\n`)
  },
})
