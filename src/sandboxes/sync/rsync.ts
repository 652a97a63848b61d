import { lstatSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { childChannel } from '../../kit/child-channel.ts'
import { abortError, deadlineSignal, throwIfAborted } from '../../kit/deadline.ts'
import { newId } from '../../kit/ids.ts'
import { textToBytes } from '../../kit/text-bytes.ts'
import { AnyplaceError } from '../../spec/index.ts'
import type { CallOptions, Session } from '../../spec/index.ts'
import { openRsyncBridge } from './rsync-bridge.ts'
import { rsyncEnv } from './rsync-versions.ts'

const CODES: readonly (readonly [RegExp, 'no-space' | 'permission-denied'])[] = [
  [/No space left|Disk quota exceeded/, 'no-space'],
  [/Permission denied|Operation not permitted|Read-only file system/, 'permission-denied'],
]
const CLEAN_UP_MS = 10_000
/** As -a, for files alone and without set-id bits; exactly the files named; no word of ours is read by a shell. */
const OPTIONS = [
  '-lpt',
  '--from0',
  '--files-from=-',
  '--no-implied-dirs',
  // What differs was found out already, and rsync looks at whole seconds only.
  '--ignore-times',
  '--secluded-args',
  '--chmod=u-s,g-s,o-t',
  '--timeout=60',
] as const

/** Sends the named files of a local tree as differences to what is there. */
export async function rsyncUp(
  session: Session,
  localPath: string,
  remotePath: string,
  names: readonly string[],
  options: CallOptions = {},
): Promise<void> {
  // Half files have a place of their own, where no other sync sees them, whatever ends this one.
  const half = `.anyplace-${newId()}`
  await session.files.makeDirectory(`${remotePath}/${half}`, { ...options, mode: 0o700 })
  try {
    await transfer(session, [`--temp-dir=${half}`, '--', `${resolve(localPath)}/`, remote(remotePath)], names, options)
  } finally {
    const signal = deadlineSignal(CLEAN_UP_MS)
    await session.files.remove(`${remotePath}/${half}`, { recursive: true, force: true, signal }).catch(() => undefined)
  }
}

/**
 * Fetches the named files as differences to what is here. They arrive in a directory of their own beside what they replace
 * and are moved from there by us, one by one, so that the far end does not choose where anything lands.
 */
export async function rsyncDown(
  session: Session,
  remotePath: string,
  localPath: string,
  names: readonly string[],
  options: CallOptions = {},
): Promise<void> {
  const root = resolve(localPath)
  const staging = join(root, `.anyplace-${newId()}`)
  mkdirSync(staging, { mode: 0o700 })
  try {
    await transfer(session, [`--copy-dest=${root}`, '--', remote(remotePath), `${staging}/`], names, options)
    for (const name of names) {
      const arrived = join(staging, name)
      if (lstatSync(arrived, { throwIfNoEntry: false })?.isFile() !== true) throw changed(name)
      renameSync(arrived, join(root, name))
    }
  } finally {
    rmSync(staging, { recursive: true, force: true })
  }
}

/** The host's name means nothing; a path shall not begin with a dash or a tilde. */
function remote(path: string): string {
  return `anyplace:${path.startsWith('/') ? path : `./${path}`}/`
}

async function transfer(
  session: Session,
  words: readonly string[],
  names: readonly string[],
  { signal }: CallOptions,
): Promise<void> {
  throwIfAborted(signal)
  await using bridge = await openRsyncBridge(session)
  const rsync = await childChannel(['rsync', ...OPTIONS, `--rsh=${bridge.shell}`, ...words], {
    env: rsyncEnv(),
    signal,
  })
  const stop = (): void => void rsync.close()
  signal?.addEventListener('abort', stop, { once: true })
  try {
    let said = ''
    rsync.stdout.resume()
    rsync.stderr.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-4000)))
    rsync.stdin.end(Buffer.concat(names.flatMap((name) => [textToBytes(name), Buffer.alloc(1)])))
    const { exitCode } = await rsync.exit
    if (signal?.aborted) throw abortError(signal)
    if (exitCode !== 0) await bridge.ended()
    if (exitCode !== 0) throw failure(exitCode, `${bridge.said()}\n${said}`, bridge.failure())
  } finally {
    signal?.removeEventListener('abort', stop)
    await rsync.close()
  }
}

function failure(exitCode: number | null, said: string, cause: unknown): AnyplaceError {
  if (AnyplaceError.is(cause) && cause.code !== 'cancelled') return cause
  const known = CODES.find(([pattern]) => pattern.test(said))?.[1]
  // 24: files vanished; 23: some could not be read, which is also how a file that has gone is told.
  if (known === undefined && (exitCode === 24 || /No such file or directory|vanished/.test(said)))
    return changed(undefined)
  const first =
    said.split('\n').find((line) => /^rsync.*:|^rsync error/.test(line)) ?? `exit code ${exitCode ?? 'unknown'}`
  return new AnyplaceError(known ?? 'protocol-error', `rsync failed: ${first.slice(0, 300)}`, {
    hint: known === undefined ? "try again, or with method: 'tar'" : undefined,
  })
}

function changed(name: string | undefined): AnyplaceError {
  const what = name === undefined ? 'A file' : JSON.stringify(name)
  return new AnyplaceError('conflict', `${what} changed or vanished while it was copied.`, {
    hint: 'sync again when nothing writes to the tree',
    retryable: true,
  })
}
