import { createHash, randomBytes } from 'node:crypto'
import { stat } from 'node:fs/promises'
import { AnyplaceError } from '../../spec/index.ts'
import type { ArchiveOptions, TreeOptions, TreeResult } from '../../spec/index.ts'
import { fileError } from '../../kit/file-error.ts'
import { systemPath } from '../../kit/system-path.ts'
import { packTree, unpackTree } from '../../kit/tar.ts'
import type { CommandDefaults } from './commands.ts'
import { FileJob } from './file-jobs.ts'
import { PACK_SCRIPT, UNPACK_SCRIPT } from './file-scripts.ts'
import type { Place } from './place.ts'
import { encodeArchive } from './archive-formats.ts'
import { ordinaryEntries } from './tar-entries.ts'

const DEFAULT_ARCHIVE_BYTES = 100 * 1024 * 1024
const DEFAULT_ARCHIVE_ENTRIES = 10_000
/** A tree may hold more than an archive is asked to; beyond this it is an attack. */
const MAX_TREE_ENTRIES = 2_000_000

/** A local file or tree into the place: one tar stream, unpacked beside its target and moved in. */
export async function uploadTree(
  place: Place,
  defaults: CommandDefaults,
  localPath: string,
  remotePath: string,
  options: TreeOptions,
): Promise<TreeResult> {
  const { exclude, only, onProgress, signal, sync = false } = options
  const { chunks, result } = packTree(localPath, { exclude, only, onProgress, signal })
  try {
    const kind = (await isSingleFile(localPath)) ? 'file' : 'directory'
    const words = [kind, randomBytes(8).toString('hex'), sync ? 'sync' : '']
    const task = { verb: 'upload to', path: remotePath }
    const job = await FileJob.start(place, defaults, task, UNPACK_SCRIPT, words, { signal, stdin: 'pipe' })
    try {
      const entries = ordinaryEntries(chunks, { maxEntries: Number.MAX_SAFE_INTEGER, signal, modeMask: 0o777 })
      await job.feed(encodeArchive(entries, 'tar'))
      await job.finish()
    } finally {
      await job.stop()
    }
    const { bytes, files } = await result
    return { bytes, files }
  } finally {
    void chunks.return()
  }
}

/** A file or tree of the place to this machine. What comes is not trusted: the hardened reader unpacks it. */
export async function downloadTree(
  place: Place,
  defaults: CommandDefaults,
  remotePath: string,
  localPath: string,
  options: TreeOptions,
): Promise<TreeResult> {
  const { onProgress, signal, sync } = options
  const exclude = (options.exclude ?? []).map(excludedPath)
  const { job, kind, tar } = await startPack(place, defaults, 'download', remotePath, exclude, signal)
  try {
    const only = options.only === undefined ? undefined : new Set(options.only)
    const entries = ordinaryEntries(tar, { maxEntries: MAX_TREE_ENTRIES, signal, exclude, only })
    const result = await unpackTree(encodeArchive(entries, 'tar'), localPath, {
      asFile: kind === 'file',
      onProgress,
      signal,
      sync,
    })
    await job.finish({ accept: changedWhileRead })
    return result
  } catch (error) {
    // A tar that failed in the place ends its stream early; what it said tells more than the cut.
    if (AnyplaceError.is(error, 'protocol-error')) await job.finish({ accept: changedWhileRead })
    throw error
  } finally {
    await job.stop()
  }
}

/** A directory or file of the place as one archive, with caps on its bytes and entries. */
export async function archiveTree(
  place: Place,
  defaults: CommandDefaults,
  path: string,
  options: ArchiveOptions,
): Promise<{ readonly bytes: Uint8Array; readonly sha256: string; readonly entries: number }> {
  const { format = 'tar.gz', maxBytes = DEFAULT_ARCHIVE_BYTES, maxEntries = DEFAULT_ARCHIVE_ENTRIES, signal } = options
  const { job, tar } = await startPack(place, defaults, 'archive', path, [], signal)
  try {
    let count = 0
    const counted = ordinaryEntries(tar, {
      maxEntries: MAX_TREE_ENTRIES,
      signal,
      onEntry: () => {
        if (++count > maxEntries)
          throw tooMuch(path, `more than ${maxEntries} entries`, 'raise maxEntries, or archive less')
      },
    })
    const chunks: Uint8Array[] = []
    let length = 0
    for await (const chunk of encodeArchive(counted, format)) {
      length += chunk.byteLength
      if (length > maxBytes)
        throw tooMuch(path, `more than ${maxBytes} bytes as ${format}`, 'raise maxBytes, or archive less')
      chunks.push(Uint8Array.prototype.slice.call(chunk))
    }
    await job.finish({ accept: changedWhileRead })
    const bytes = Buffer.concat(chunks, length)
    return { bytes, sha256: createHash('sha256').update(bytes).digest('hex'), entries: count }
  } catch (error) {
    if (AnyplaceError.is(error, 'protocol-error')) await job.finish({ accept: changedWhileRead })
    throw error
  } finally {
    await job.stop()
  }
}

async function startPack(
  place: Place,
  defaults: CommandDefaults,
  verb: string,
  path: string,
  exclude: readonly string[],
  signal: AbortSignal | undefined,
): Promise<{ job: FileJob; kind: 'file' | 'directory'; tar: AsyncIterable<Uint8Array> }> {
  const patterns = exclude.map(excludePattern)
  const job = await FileJob.start(place, defaults, { verb, path }, PACK_SCRIPT, patterns, { signal })
  try {
    const output = job.output()
    const first = await output.next()
    if (first.done === true) {
      await job.finish()
      throw new AnyplaceError('connection-lost', `Cannot ${verb} ${JSON.stringify(path)}: nothing came.`)
    }
    const kind = first.value[0] === 0x66 ? 'file' : 'directory'
    async function* rest(begin: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
      yield begin
      yield* output
    }
    return { job, kind, tar: rest(first.value.subarray(1)) }
  } catch (error) {
    await job.stop()
    throw error
  }
}

function excludedPath(path: string): string {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.')
  if (path.startsWith('/') || parts.includes('..') || parts.length === 0) {
    throw new AnyplaceError(
      'invalid-argument',
      `exclude must hold paths inside the tree (got ${JSON.stringify(path)}).`,
      { field: 'exclude' },
    )
  }
  return parts.join('/')
}

/** A path below the root as a pattern of tar's that means nothing but this path and what is below it. */
function excludePattern(path: string): string {
  return `./${path.replaceAll(/[\\*?[\]]/g, String.raw`\$&`)}`
}

/** GNU tar says with exit code 1 that a file grew or vanished while it was read, which is no failure; a shrunken one is. */
function changedWhileRead(exitCode: number, said: string): boolean {
  if (exitCode !== 1 || said.includes('anyplace-failure:')) return false
  const lines = said.trim().split('\n')
  return lines.every((line) => /(changed as we read it|removed before we read it|socket ignored)$/.test(line))
}

async function isSingleFile(localPath: string): Promise<boolean> {
  try {
    return (await stat(systemPath(localPath))).isFile()
  } catch (error) {
    throw fileError(error, 'upload', localPath)
  }
}

function tooMuch(path: string, what: string, hint: string): AnyplaceError {
  return new AnyplaceError('resource-exhausted', `Cannot archive ${JSON.stringify(path)}: it has ${what}.`, {
    hint,
    retryable: false,
    data: { path },
  })
}
