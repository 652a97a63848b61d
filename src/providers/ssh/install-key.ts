import { text as readAll } from 'node:stream/consumers'
import { childChannel } from '../../kit/child-channel.ts'
import { deadlineSignal } from '../../kit/deadline.ts'
import { packageText } from '../../kit/package-text.ts'
import { quoteArgv } from '../../kit/quote.ts'
import { AnyplaceError } from '../../spec/index.ts'
import type { CallOptions } from '../../spec/index.ts'
import { serveAskpass } from './askpass.ts'
import { checkTarget } from './check-target.ts'
import { withLogin } from './login.ts'
import type { Login } from './login.ts'
import { connectFailure, place } from './ssh-failure.ts'
import { sshEnvironment } from './ssh-program.ts'
import type { SshTarget } from './ssh-target.ts'

/** A public key as authorized_keys has it. */
export interface KeyToInstall {
  readonly type: string
  /** The key in base64. */
  readonly base64: string
  readonly comment: string
}

const SCRIPT = new URL('./install-key.sh', import.meta.url)
const MAX_SAID = 64 * 1024

/**
 * Puts a public key into the host's authorized_keys, once. Logs in with the target's identity, or with a password.
 *
 * @returns whether it was added; false when it was there already
 * @throws AnyplaceError `permission-denied` for a refused login (cause `password-refused` for a password) or a file that
 * cannot be written, and what connecting fails with
 */
export async function installKey(
  target: SshTarget,
  key: KeyToInstall,
  options: CallOptions & { readonly password?: string | undefined } = {},
): Promise<boolean> {
  checkTarget(target)
  const { password } = options
  const signal = deadlineSignal(target.connectTimeoutMs ?? 20_000, options.signal)
  // With a password no key is offered, so that a host that counts attempts does not turn us away.
  const plain: SshTarget = password === undefined ? target : { ...target, identity: { kind: 'config' } }
  return withLogin(plain, { signal }, async (login) => {
    const said =
      password === undefined
        ? await run(plain, login, key, [], {}, signal)
        : await withPassword(plain, login, key, password, signal)
    const answer = /^anyplace: (\S+)$/m.exec(said)?.[1]
    if (answer === 'added') return true
    if (answer === 'present') return false
    throw new AnyplaceError(
      answer === undefined ? 'unsupported' : 'permission-denied',
      answer === undefined
        ? `${place(target, login.resolved)} has no POSIX shell to install a key with.`
        : `${place(target, login.resolved)} let us in, but its ~/.ssh/authorized_keys cannot be written.`,
      { field: 'host', hint: 'add the line to authorized_keys by hand: anyplace keys show KEY' },
    )
  })
}

async function withPassword(
  target: SshTarget,
  login: Login,
  key: KeyToInstall,
  password: string,
  signal: AbortSignal,
): Promise<string> {
  await using askpass = await serveAskpass(password, login.resolved)
  const options = [
    'BatchMode=no',
    'PubkeyAuthentication=no',
    'PreferredAuthentications=password,keyboard-interactive',
    'PasswordAuthentication=yes',
    'KbdInteractiveAuthentication=yes',
    'NumberOfPasswordPrompts=1',
  ]
  try {
    return await run(target, login, key, options, askpass.env, signal)
  } catch (error) {
    if (!AnyplaceError.is(error, 'permission-denied') || error.data?.['cause'] !== 'key-refused') throw error
    throw askpass.wasAsked()
      ? new AnyplaceError('permission-denied', `${place(target, login.resolved)} refused the password.`, {
          field: 'password',
          hint: 'check the user name and the password',
          data: { cause: 'password-refused' },
        })
      : new AnyplaceError('permission-denied', `${place(target, login.resolved)} takes no passwords.`, {
          field: 'password',
          hint: 'install the key with another key that the host knows, or by hand: anyplace keys show KEY',
          data: { cause: 'no-password-login' },
        })
  }
}

async function run(
  target: SshTarget,
  login: Login,
  key: KeyToInstall,
  options: readonly string[],
  env: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<string> {
  // Whatever the login shell is, it has only this to understand; the script comes over stdin.
  const command = `exec ${quoteArgv(['sh', '-s', '--', key.type, key.base64, key.comment])}`
  const argv = [
    'ssh',
    '-F',
    login.configPath,
    ...options.flatMap((option) => ['-o', option]),
    '-T',
    ...login.destination,
    command,
  ]
  await using channel = await childChannel(argv, { env: { ...sshEnvironment(), ...env }, signal })
  const onAbort = (): void => void channel.close()
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    channel.stdin.end(await packageText(SCRIPT))
    const [stdout, stderr, { exitCode }] = await Promise.all([
      readAll(channel.stdout),
      readAll(channel.stderr),
      channel.exit,
    ])
    if (signal.aborted) throw signal.reason
    if (exitCode === 255) throw connectFailure(target, login.resolved, stderr.slice(0, MAX_SAID), 255)
    return stdout.slice(0, MAX_SAID)
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
