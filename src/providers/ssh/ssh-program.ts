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

/** The user's own environment, so that agent and config work; messages in English, and no program of theirs is asked for passwords. */
export function sshEnvironment(): Record<string, string> {
  const env: Record<string, string> = { LC_ALL: 'C' }
  for (const [name, value] of Object.entries(process.env)) {
    if (value !== undefined && !/^LC_|^LANG|^SSH_ASKPASS/.test(name) && !/\p{Surrogate}/u.test(value)) env[name] = value
  }
  return env
}

/** Starts OpenSSH's client with the user's environment. */
export async function startSsh(argv: readonly string[], options: CallOptions = {}): Promise<ChildChannel> {
  try {
    return await childChannel(['ssh', ...argv], { env: sshEnvironment(), ...options })
  } catch (error) {
    if (!AnyplaceError.is(error, 'command-not-found')) throw error
    throw new AnyplaceError('unsupported', 'There is no ssh program on this computer.', {
      hint: 'install the OpenSSH client: apt-get install -y openssh-client',
      cause: error,
    })
  }
}

/** Runs it to its end with nothing on stdin. */
export async function callSsh(argv: readonly string[], options: CallOptions = {}): Promise<SshAnswer> {
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
