import { mkdirSync } from 'node:fs'
import { resolve } from 'node:path'
import { throwIfAborted } from '../../kit/deadline.ts'
import { fileError } from '../../kit/file-error.ts'
import { systemPath } from '../../kit/system-path.ts'
import { AnyplaceError } from '../../spec/index.ts'
import type { Files, Session, TreeResult } from '../../spec/index.ts'
import { localTree } from './local-tree.ts'
import { pathFilter } from './path-filter.ts'
import { removeLocal } from './remove-local.ts'
import { remoteTree } from './remote-tree.ts'
import { rsyncDown, rsyncUp } from './rsync.ts'
import { whyNoRsync } from './rsync-versions.ts'
import type { SyncChange, SyncOptions, SyncProgress, SyncResult } from './sync-options.ts'
import { planSync } from './sync-plan.ts'
import type { SyncPlan } from './sync-plan.ts'

/** Names of one request; a control message holds 8 MiB. */
const MAX_NAMES_BYTES = 2 * 1024 * 1024
const DELETES_AT_ONCE = 16
/** Below this a whole file is there before rsync has begun. */
const LARGE_BYTES = 4 * 1024 * 1024

/**
 * Makes a tree of the sandbox like a local one, or the other way round, and moves only what differs: in kind, size, time
 * (whole seconds), permissions, or where a link points. Permissions, links and the times of files are kept.
 *
 * A sync that failed can be repeated and goes on where it stopped: every file appears whole or not at all.
 */
export class Sync {
  readonly #files: Files
  readonly #session: Session
  readonly #isFar: boolean

  /** @param isFar whether a slow network may lie between, where differences are worth their trouble */
  constructor(session: Session, isFar: boolean) {
    this.#files = session.files
    this.#session = session
    this.#isFar = isFar
  }

  /**
   * Makes `remotePath` like `localPath`, both directories; the target is made when missing.
   *
   * @throws AnyplaceError `file-not-found`, `not-a-directory`, `is-a-directory` (something in the way, see `delete`),
   *   `conflict` when the tree changed meanwhile, `permission-denied`, `no-space`, `connection-lost`, `cancelled`,
   *   `invalid-argument` for patterns
   */
  async up(localPath: string, remotePath: string, options: SyncOptions = {}): Promise<SyncResult> {
    const { signal } = options
    const filters = checkedFilters(options)
    throwIfAborted(signal)
    comparing(options)
    // The sandbox is asked first: it looks while we do.
    const [target, source] = await both(
      remoteTree(this.#files, remotePath, filters(), signal),
      localTree(localPath, filters(), signal),
    )
    return run(planSync(source, target, options.delete ?? false), options, {
      prepare: () => this.#files.makeDirectory(remotePath, { signal }),
      remove: (path) => this.#files.remove(`${remotePath}/${path}`, { recursive: true, force: true, signal }),
      move: (only, onProgress) =>
        this.#files.upload(localPath, remotePath, { only, onProgress, signal, sync: options.flush }),
      rsync: (names) => rsyncUp(this.#session, localPath, remotePath, names, { signal }),
      ...this.#choice(options),
    })
  }

  /**
   * Makes `localPath` like `remotePath`, both directories; the target is made when missing. The sandbox is not trusted:
   * nothing lands outside of `localPath`, nothing that was excluded is written, and nothing else is deleted.
   *
   * @throws AnyplaceError as {@link up}; `unsafe-archive` when the sandbox sends what was not asked for
   */
  async down(remotePath: string, localPath: string, options: SyncOptions = {}): Promise<SyncResult> {
    const { signal } = options
    const filters = checkedFilters(options)
    throwIfAborted(signal)
    comparing(options)
    const root = resolve(localPath)
    const [source, target] = await both(
      remoteTree(this.#files, remotePath, filters(), signal),
      localTree(localPath, filters(), signal).catch((error: unknown) => {
        if (AnyplaceError.is(error, 'file-not-found')) return undefined
        throw error
      }),
    )
    if (source === undefined) {
      throw new AnyplaceError('file-not-found', `There is no directory ${JSON.stringify(remotePath)} in the sandbox.`)
    }
    return run(planSync(source, target, options.delete ?? false), options, {
      prepare: async () => void mkdirSync(systemPath(root), { recursive: true }),
      // Only paths that our own walk found, which follows no links.
      remove: async (path) => removeLocal(`${root}/${path}`),
      move: (only, onProgress) =>
        this.#files.download(remotePath, localPath, { only, onProgress, signal, sync: options.flush }),
      rsync: (names) => rsyncDown(this.#session, remotePath, localPath, names, { signal }),
      ...this.#choice(options),
    })
  }

  #choice({ method = 'auto', signal }: SyncOptions): Pick<Hands, 'suits' | 'whyNoRsync'> {
    if (method !== 'auto' && method !== 'tar' && method !== 'rsync') {
      throw new AnyplaceError(
        'invalid-argument',
        `method must be auto, tar or rsync (got ${JSON.stringify(method)}).`,
        {
          field: 'method',
        },
      )
    }
    return {
      suits: ({ bytes }) => method === 'rsync' || (method === 'auto' && this.#isFar && bytes >= LARGE_BYTES),
      whyNoRsync: () => whyNoRsync(this.#session, { signal }),
    }
  }
}

/** How one direction does its work. */
interface Hands {
  rsync(names: readonly string[]): Promise<void>
  /** Whether such a file shall move as differences. */
  suits(change: SyncChange): boolean
  whyNoRsync(): Promise<string | undefined>
  prepare(): Promise<void>
  remove(path: string): Promise<void>
  move(only: readonly string[], onProgress: (moved: TreeResult) => void): Promise<TreeResult>
}

async function run(plan: SyncPlan, options: SyncOptions, hands: Hands): Promise<SyncResult> {
  const { dryRun = false, signal } = options
  const result: SyncResult = {
    files: plan.files,
    bytes: plan.bytes,
    deleted: plan.inTheWay.length + plan.deleted.length,
    unchanged: plan.unchanged,
    byRsync: 0,
    dryRun,
    changes: [...plan.moved, ...plan.inTheWay, ...plan.deleted],
  }
  if (dryRun) return result
  const report = (phase: SyncProgress['phase'], { files, bytes }: TreeResult): void =>
    options.onProgress?.({ phase, files, bytes, totalFiles: plan.files, totalBytes: plan.bytes })
  try {
    // A tree that is not there is made by the transfer itself, which is faster where nobody can be reading yet.
    if (plan.moved.length === 0) await hands.prepare()
    await removeAll(plan.inTheWay, hands, signal)
    let moved: TreeResult = { files: 0, bytes: 0 }
    const byRsync = await chosen(plan, options, hands)
    const names = new Set(byRsync.map(({ path }) => path))
    for (const only of parts(plan.moved.map(({ path }) => path).filter((path) => !names.has(path)))) {
      const before = moved
      const onProgress = ({ files, bytes }: TreeResult): void =>
        report('moving', { files: before.files + files, bytes: before.bytes + bytes })
      const part = await hands.move(only, onProgress)
      moved = { files: before.files + part.files, bytes: before.bytes + part.bytes }
    }
    if (byRsync.length > 0) {
      await hands.rsync([...names])
      const bytes = byRsync.reduce((sum, one) => sum + one.bytes, 0)
      moved = { files: moved.files + byRsync.length, bytes: moved.bytes + bytes }
      report('moving', moved)
    }
    if (moved.files !== plan.files) throw changedMeanwhile(plan, moved)
    if (plan.deleted.length > 0) report('deleting', moved)
    await removeAll(plan.deleted, hands, signal)
    return { ...result, bytes: moved.bytes, byRsync: byRsync.length }
  } catch (error) {
    throw fileError(error, 'sync', '.')
  }
}

/** Files that move as differences. Only what is there in another version can. */
async function chosen(plan: SyncPlan, { method }: SyncOptions, hands: Hands): Promise<readonly SyncChange[]> {
  const candidates = plan.moved.filter((one) => one.action === 'update' && one.type === 'file' && hands.suits(one))
  if (candidates.length === 0 && method !== 'rsync') return []
  const why = await hands.whyNoRsync()
  if (why === undefined) return candidates
  if (method !== 'rsync') return []
  throw new AnyplaceError('unsupported', `method 'rsync' cannot be used: ${why}.`, {
    field: 'method',
    hint: "install it, or use method 'tar'",
  })
}

async function removeAll(changes: SyncPlan['deleted'], hands: Hands, signal: AbortSignal | undefined): Promise<void> {
  for (let at = 0; at < changes.length; at += DELETES_AT_ONCE) {
    throwIfAborted(signal)
    await Promise.all(changes.slice(at, at + DELETES_AT_ONCE).map(({ path }) => hands.remove(path)))
  }
}

/** Both sides are looked at together; when one fails, the other is waited for, so that nothing goes on unseen. */
async function both<A, B>(first: Promise<A>, second: Promise<B>): Promise<[A, B]> {
  const [one, two] = await Promise.allSettled([first, second])
  if (one.status === 'rejected') throw one.reason
  if (two.status === 'rejected') throw two.reason
  return [one.value, two.value]
}

function* parts(paths: readonly string[]): Generator<readonly string[]> {
  let part: string[] = []
  let length = 0
  for (const path of paths) {
    part.push(path)
    length += path.length * 3
    if (length < MAX_NAMES_BYTES) continue
    yield part
    part = []
    length = 0
  }
  if (part.length > 0) yield part
}

/** Patterns are checked once, before anything is read; each side needs a filter of its own. */
function checkedFilters({ include, exclude }: SyncOptions): () => ReturnType<typeof pathFilter> {
  pathFilter(include, exclude)
  return () => pathFilter(include, exclude)
}

function comparing({ onProgress }: SyncOptions): void {
  onProgress?.({ phase: 'comparing', files: 0, bytes: 0, totalFiles: 0, totalBytes: 0 })
}

function changedMeanwhile(plan: SyncPlan, moved: TreeResult): AnyplaceError {
  const what = `${moved.files} files came instead of ${plan.files}`
  return new AnyplaceError('conflict', `The tree changed while it was copied: ${what}.`, {
    hint: 'sync again when nothing is added or removed there',
    retryable: true,
  })
}
