import { finished } from 'node:stream/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { childChannel } from '../../kit/child-channel.ts'
import type { ChildChannel } from '../../kit/child-channel.ts'
import { abortError } from '../../kit/deadline.ts'
import { utf8Lossy } from '../../kit/text-bytes.ts'
import { AnyplaceError } from '../../spec/index.ts'
import type { CallOptions } from '../../spec/index.ts'

const MAX_TEXT_BYTES = 256 * 1024
const LAST_WORDS_MS = 200

export interface SshAnswer {
  readonly exitCode: number
  readonly stdout: string
  readonly stderr: string
}

/** A config with `SendEnv *` would send the vault's key to the host. */
const NOT_FOR_SSH = /^(LC_|LANG|SSH_ASKPASS|ANYPLACE_VAULT_)/

/** The user's own environment, so that agent and config work; messages in English, and no program of theirs is asked for passwords. */
export function sshEnvironment(): Record<string, string> {
  const env: Record<string, string> = { LC_ALL: 'C' }
  for (const [name, value] of Object.entries(process.env)) {
    if (value !== undefined && !NOT_FOR_SSH.test(name) && !/\p{Surrogate}/u.test(value)) env[name] = value
  }
  return env
}

/** What ssh itself reads; whatever else there is belongs to the programs that a config may start. */
const OWN = /^(LC_ALL|PATH|HOME|USER|LOGNAME|SHELL|TMPDIR|SSH_AUTH_SOCK|SSH_SK_PROVIDER|KRB5\w*|XDG_RUNTIME_DIR)$/

export interface SshOptions extends CallOptions {
  /** Only what ssh itself reads of the environment, where no program of the user's is started. @default false */
  readonly onlyOwn?: boolean | undefined
}

/** Starts OpenSSH's client with the user's environment. */
export async function startSsh(argv: readonly string[], options: SshOptions = {}): Promise<ChildChannel> {
  const { signal, onlyOwn = false } = options
  const whole = sshEnvironment()
  const env = onlyOwn ? Object.fromEntries(Object.entries(whole).filter(([name]) => OWN.test(name))) : whole
  try {
    return await childChannel(['ssh', ...argv], { env, signal })
  } catch (error) {
    if (!AnyplaceError.is(error, 'command-not-found')) throw error
    throw new AnyplaceError('unsupported', 'There is no ssh program on this computer.', {
      hint: 'install the OpenSSH client: apt-get install -y openssh-client',
      cause: error,
    })
  }
}

/** Runs it to its end with nothing on stdin. */
export async function callSsh(argv: readonly string[], options: SshOptions = {}): Promise<SshAnswer> {
  const { signal } = options
  const channel = await startSsh(argv, options)
  const onAbort = (): void => void channel.close()
  signal?.addEventListener('abort', onAbort, { once: true })
  try {
    channel.stdin.end()
    const said = { stdout: [] as Buffer[], stderr: [] as Buffer[] }
    for (const name of ['stdout', 'stderr'] as const) {
      let bytes = 0
      channel[name].on('data', (chunk: Buffer) => {
        bytes += chunk.byteLength
        if (bytes <= MAX_TEXT_BYTES) said[name].push(chunk)
      })
    }
    const { exitCode } = await channel.exit
    if (signal?.aborted) throw abortError(signal)
    // One that went to the background may keep its streams: its own end is what counts, and what it said by then.
    const closed = Promise.all([finished(channel.stdout), finished(channel.stderr)])
    await Promise.race([closed, delay(LAST_WORDS_MS, undefined, { ref: false })]).catch(() => undefined)
    const text = (name: 'stdout' | 'stderr'): string => utf8Lossy(Buffer.concat(said[name]))
    return { exitCode: exitCode ?? 255, stdout: text('stdout'), stderr: text('stderr') }
  } finally {
    signal?.removeEventListener('abort', onAbort)
    await channel.close()
  }
}
