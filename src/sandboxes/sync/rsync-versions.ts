import process from 'node:process'
import { childChannel } from '../../kit/child-channel.ts'
import { collectBytes } from '../../kit/collect.ts'
import { utf8Lossy } from '../../kit/text-bytes.ts'
import { runProcess } from '../../execd/run-process.ts'
import { AnyplaceError } from '../../spec/index.ts'
import type { CallOptions, Session } from '../../spec/index.ts'

/** Ours talks to a host that nobody vouches for: below this, known faults let it read and write our files. */
const SAFE_HERE = [3, 4, 3] as const
/** Theirs only has to speak as we do, and not to hand a path to a shell. */
const SAFE_THERE = [3, 2, 7] as const

/** Why rsync cannot be used between here and the sandbox; undefined when it can. */
export async function whyNoRsync(session: Session, options: CallOptions = {}): Promise<string | undefined> {
  const [here, there] = await Promise.all([versionHere(options), versionThere(session, options)])
  return unsafe(here, SAFE_HERE, 'on this machine') ?? unsafe(there, SAFE_THERE, 'in the sandbox')
}

/** Why this output of `rsync --version` will not do. */
export function unsafe(output: string, least: readonly number[], where: string): string | undefined {
  // Apple's openrsync says "compatible" and a version that is not its own.
  const found = /^rsync\s+version v?(\d+)\.(\d+)\.(\d+)(\S*)/.exec(output)
  if (found === null) return `there is no rsync ${where}`
  const version = found.slice(1, 4).map(Number)
  const isPre = (found[4] ?? '').startsWith('pre')
  const difference = least.map((number, index) => (version[index] ?? 0) - number).find((one) => one !== 0) ?? 0
  if (difference > 0 || (difference === 0 && !isPre)) return undefined
  return `rsync ${where} is ${version.join('.')}; ${least.join('.')} is the first that is safe for this`
}

/** What local programs of ours are started with: no variable that rsync would listen to. */
export function rsyncEnv(): Record<string, string> {
  return { PATH: process.env['PATH'] ?? '/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C' }
}

async function versionHere({ signal }: CallOptions): Promise<string> {
  try {
    await using channel = await childChannel(['rsync', '--version'], { env: rsyncEnv(), signal })
    channel.stdin.end()
    channel.stderr.resume()
    return utf8Lossy(await collectBytes(channel.stdout as AsyncIterable<Uint8Array>, { maxBytes: 64 * 1024 }))
  } catch (error) {
    if (AnyplaceError.is(error, 'command-not-found') || AnyplaceError.is(error, 'command-not-executable')) return ''
    throw error
  }
}

async function versionThere(session: Session, { signal }: CallOptions): Promise<string> {
  try {
    return (await runProcess(session, ['rsync', '--version'], { signal, timeoutMs: 10_000, maxOutputBytes: 64 * 1024 }))
      .stdout
  } catch (error) {
    if (AnyplaceError.is(error, 'command-not-found') || AnyplaceError.is(error, 'command-not-executable')) return ''
    throw error
  }
}
