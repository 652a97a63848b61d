import { randomBytes } from 'node:crypto'
import { AnyplaceError } from '../../spec/index.ts'
import type {
  ArchiveOptions,
  CallOptions,
  FileInfo,
  Files,
  ListOptions,
  Listing,
  TreeOptions,
  TreeResult,
  WriteOptions,
} from '../../spec/index.ts'
import { collectBytes } from '../../kit/collect.ts'
import { textToBytes, utf8Lossy } from '../../kit/text-bytes.ts'
import type { CommandDefaults } from './commands.ts'
import { describedFiles } from './file-facts.ts'
import { FileJob } from './file-jobs.ts'
import {
  DESCRIBE_SCRIPT,
  LIST_SCRIPT,
  MAKE_DIRECTORY_SCRIPT,
  READ_SCRIPT,
  REMOVE_SCRIPT,
  STAT_SCRIPT,
  WRITE_SCRIPT,
} from './file-scripts.ts'
import { archiveTree, downloadTree, uploadTree } from './file-trees.ts'
import type { Place } from './place.ts'

const DEFAULT_READ_BYTES = 64 * 1024 * 1024
const DEFAULT_ENTRIES = 10_000
const CHUNK_BYTES = 256 * 1024

/** Files through the tools of the place: one script a call, as the sandbox's user. */
export class PlatformFiles implements Files {
  readonly #place: Place
  readonly #defaults: CommandDefaults

  constructor(place: Place, defaults: CommandDefaults) {
    this.#place = place
    this.#defaults = defaults
  }

  async read(path: string, options: CallOptions & { readonly maxBytes?: number } = {}): Promise<Uint8Array> {
    const { maxBytes = DEFAULT_READ_BYTES, signal } = options
    const job = await this.#start('read', path, READ_SCRIPT, ['0', ''], { signal })
    try {
      const bytes = await collectBytes(job.output(), { maxBytes })
      await job.finish()
      return bytes
    } finally {
      await job.stop()
    }
  }

  async readText(path: string, options: CallOptions & { readonly maxBytes?: number } = {}): Promise<string> {
    return utf8Lossy(await this.read(path, options))
  }

  async readStream(
    path: string,
    options: CallOptions & { readonly offset?: number; readonly length?: number } = {},
  ): Promise<ReadableStream<Uint8Array>> {
    const { length, offset = 0, signal } = options
    for (const [field, value] of Object.entries({ offset, length: length ?? 0 })) {
      if (!Number.isSafeInteger(value) || value < 0) {
        throw new AnyplaceError('invalid-argument', `${field} must be a whole number of 0 or more (got ${value}).`, {
          field,
        })
      }
    }
    const job = await this.#start('read', path, READ_SCRIPT, [`${offset}`, length === undefined ? '' : `${length}`], {
      signal,
    })
    async function* chunks(): AsyncGenerator<Uint8Array, void, undefined> {
      try {
        yield* job.output()
        await job.finish()
      } finally {
        await job.stop()
      }
    }
    const iterator = chunks()
    // The first piece is awaited here, so that a missing file fails this call and not a later read.
    let first: IteratorResult<Uint8Array, void> | undefined = await iterator.next()
    return new ReadableStream<Uint8Array>(
      {
        async pull(controller) {
          const { done, value } = first ?? (await iterator.next())
          first = undefined
          if (done === true) controller.close()
          else controller.enqueue(value)
        },
        async cancel() {
          await iterator.return(undefined)
        },
      },
      { highWaterMark: 0 },
    )
  }

  async write(
    path: string,
    content: string | Uint8Array | AsyncIterable<Uint8Array>,
    options: WriteOptions = {},
  ): Promise<void> {
    const { mode, signal } = options
    const seal = randomBytes(12).toString('hex')
    const words = [octalMode(mode), seal]
    const job = await this.#start('write', path, WRITE_SCRIPT, words, { signal, stdin: 'pipe' })
    try {
      await job.feed(sealed(content, seal))
      await job.finish()
    } finally {
      await job.stop()
    }
  }

  async list(path = '.', options: ListOptions = {}): Promise<Listing> {
    const { maxEntries = DEFAULT_ENTRIES, recursive = false, signal } = options
    const job = await this.#start('list', path, LIST_SCRIPT, [recursive ? '' : '1', DESCRIBE_SCRIPT], { signal })
    try {
      let kept: Sortable[] = []
      let total = 0
      const files = describedFiles(job.output())
      let next = await files.next()
      for (; next.done !== true; next = await files.next()) {
        const info = { ...next.value, path: next.value.path.slice(2) }
        total++
        kept.push({ info, key: textToBytes(info.path) })
        if (kept.length > 2 * maxEntries + 1000) kept = kept.sort(byKey).slice(0, maxEntries)
      }
      await job.finish()
      if (next.value.rest !== '\u0001') throw new AnyplaceError('connection-lost', 'The end of the listing was lost.')
      const entries = kept
        .sort(byKey)
        .slice(0, maxEntries)
        .map(({ info }) => info)
      return { entries, total, truncated: total > entries.length }
    } finally {
      await job.stop()
    }
  }

  async stat(path: string, options: CallOptions = {}): Promise<FileInfo> {
    const job = await this.#start('find', path, STAT_SCRIPT, [], options)
    try {
      const { done, value } = await describedFiles(job.output()).next()
      await job.finish()
      if (done === true) throw new AnyplaceError('file-not-found', `Cannot find ${JSON.stringify(path)}: it vanished.`)
      return { ...value, path }
    } finally {
      await job.stop()
    }
  }

  async exists(path: string, options: CallOptions = {}): Promise<boolean> {
    try {
      await this.stat(path, options)
      return true
    } catch (error) {
      if (AnyplaceError.is(error, 'file-not-found') || AnyplaceError.is(error, 'not-a-directory')) return false
      throw error
    }
  }

  async remove(
    path: string,
    options: CallOptions & { readonly recursive?: boolean; readonly force?: boolean } = {},
  ): Promise<void> {
    const { force = false, recursive = false, signal } = options
    await this.#run('remove', path, REMOVE_SCRIPT, [recursive ? 'recursive' : '', force ? 'force' : ''], signal)
  }

  async makeDirectory(path: string, options: CallOptions & { readonly mode?: number } = {}): Promise<void> {
    await this.#run('make the directory', path, MAKE_DIRECTORY_SCRIPT, [octalMode(options.mode)], options.signal)
  }

  upload(localPath: string, remotePath: string, options: TreeOptions = {}): Promise<TreeResult> {
    return uploadTree(this.#place, this.#defaults, localPath, remotePath, options)
  }

  download(remotePath: string, localPath: string, options: TreeOptions = {}): Promise<TreeResult> {
    return downloadTree(this.#place, this.#defaults, remotePath, localPath, options)
  }

  archive(
    path: string,
    options: ArchiveOptions = {},
  ): Promise<{ readonly bytes: Uint8Array; readonly sha256: string; readonly entries: number }> {
    return archiveTree(this.#place, this.#defaults, path, options)
  }

  #start(
    verb: string,
    path: string,
    script: string,
    words: readonly string[],
    options: CallOptions & { readonly stdin?: 'pipe' },
  ): Promise<FileJob> {
    return FileJob.start(this.#place, this.#defaults, { verb, path }, script, words, options)
  }

  async #run(
    verb: string,
    path: string,
    script: string,
    words: readonly string[],
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const job = await this.#start(verb, path, script, words, { signal })
    try {
      await job.finish()
    } finally {
      await job.stop()
    }
  }
}

interface Sortable {
  readonly info: FileInfo
  readonly key: Uint8Array
}

function byKey(first: Sortable, second: Sortable): number {
  return Buffer.compare(first.key, second.key)
}

function octalMode(mode: number | undefined): string {
  if (mode === undefined) return ''
  if (!Number.isInteger(mode) || mode < 0 || mode > 0o7777) {
    throw new AnyplaceError('invalid-argument', `mode must be 0 to 0o7777 (got ${mode}).`, { field: 'mode' })
  }
  return mode.toString(8)
}

async function* sealed(
  content: string | Uint8Array | AsyncIterable<Uint8Array>,
  seal: string,
): AsyncGenerator<Uint8Array, void, undefined> {
  if (typeof content === 'string' || content instanceof Uint8Array) {
    const bytes = typeof content === 'string' ? Buffer.from(content) : content
    for (let at = 0; at < bytes.byteLength; at += CHUNK_BYTES) yield bytes.subarray(at, at + CHUNK_BYTES)
  } else {
    yield* content
  }
  yield Buffer.from(seal)
}
