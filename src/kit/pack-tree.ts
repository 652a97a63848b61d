import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readSync,
  readdirSync,
  readlinkSync,
  statSync,
} from 'node:fs'
import type { Dirent, Stats } from 'node:fs'
import { open } from 'node:fs/promises'
import { basename, resolve } from 'node:path'
import { AnyplaceError } from '../spec/index.ts'
import type { TreeResult } from '../spec/index.ts'
import { throwIfAborted } from './deadline.ts'
import { errnoOf, fileError } from './file-error.ts'
import { systemPath } from './system-path.ts'
import { TAR_BLOCK_BYTES, encodeTarHeader, paddingAfter } from './tar-header.ts'
import { assertNoNul, bytesToText } from './text-bytes.ts'

/** Options of {@link packTree}. */
export interface PackOptions {
  /** Paths relative to the root; each leaves out itself and all below it. */
  readonly exclude?: readonly string[] | undefined
  /** Exactly these paths relative to the root; a directory without what is in it. Times of the last seconds are then exact. */
  readonly only?: readonly string[] | undefined
  readonly onProgress?: ((moved: TreeResult) => void) | undefined
  readonly signal?: AbortSignal | undefined
}

/** What a pack holds. `files` counts all but directories. */
export interface PackResult extends TreeResult {
  /** False when the path named a single file. */
  readonly isDirectory: boolean
}

const CHUNK_BYTES = 256 * 1024
const MAX_FREE_CHUNKS = 8
const SMALL_FILE_BYTES = 64 * 1024
/** Of a file's header and padding, and the byte that shows whether it grew. */
const MOST_OVERHEAD_BYTES = 2 * TAR_BLOCK_BYTES
// O_NONBLOCK, so that a pipe that took a file's place cannot hold us up.
const READ_FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK

/**
 * A local tree, or one file, as a tar stream. Names are relative to the tree (a single file has its base name), sorted;
 * links are stored as links, sockets, pipes and devices are left out. The named path itself may be a link.
 *
 * `result` settles when all was read. It rejects as the chunks fail, and need not be listened to. A chunk stays as it is
 * unless it is handed back to `release`: then its memory is filled anew, which spares a large tree most of its cost here.
 *
 * Fails with `file-not-found`, `permission-denied`, or `conflict` when a file changes while it is read.
 */
export function packTree(
  localPath: string,
  options: PackOptions = {},
): {
  readonly chunks: AsyncGenerator<Uint8Array, void, undefined>
  readonly release: (chunk: Uint8Array) => void
  readonly result: Promise<PackResult>
} {
  let settle: { resolve: (result: PackResult) => void; reject: (error: unknown) => void } | undefined
  const result = new Promise<PackResult>((resolveResult, reject) => {
    settle = { resolve: resolveResult, reject }
  })
  result.catch(() => {})
  const packer = new TreePacker(options)
  async function* chunks(): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      yield* packer.pack(localPath)
      settle?.resolve(packer.result)
    } catch (error) {
      const failure = fileError(error, 'pack', localPath)
      settle?.reject(failure)
      throw failure
    } finally {
      settle?.reject(new AnyplaceError('cancelled', `Packing ${JSON.stringify(localPath)} was stopped.`))
    }
  }
  return { chunks: chunks(), release: (chunk) => packer.release(chunk), result }
}

class TreePacker {
  readonly result = { files: 0, bytes: 0, isDirectory: false }
  readonly #options: PackOptions
  readonly #excluded: ReadonlySet<string>
  readonly #parents = new Set<string>()
  #chunk: Buffer = Buffer.allocUnsafeSlow(CHUNK_BYTES)
  #fill = 0
  readonly #free: Buffer[] = []

  constructor(options: PackOptions) {
    this.#options = options
    this.#excluded = new Set((options.exclude ?? []).map((path) => innerPath(path, 'exclude')))
  }

  release(chunk: Uint8Array): void {
    if (this.#free.length < MAX_FREE_CHUNKS && chunk.buffer.byteLength === CHUNK_BYTES) {
      this.#free.push(Buffer.from(chunk.buffer as ArrayBuffer))
    }
  }

  async *pack(localPath: string): AsyncGenerator<Uint8Array, void, undefined> {
    throwIfAborted(this.#options.signal)
    assertNoNul(localPath, 'localPath')
    const root = resolve(localPath)
    const stats = statSync(systemPath(root))
    if (stats.isDirectory()) {
      this.result.isDirectory = true
      const { only } = this.#options
      if (only === undefined) yield* this.#directory(root, '')
      else yield* this.#named(root, only)
    } else if (stats.isFile()) {
      yield* this.#file(root, basename(root), constants.O_RDONLY | constants.O_NONBLOCK)
    } else {
      throw new AnyplaceError('invalid-argument', `${JSON.stringify(localPath)} is neither a file nor a directory.`)
    }
    yield* this.#append(Buffer.alloc(2 * TAR_BLOCK_BYTES))
    if (this.#fill > 0) yield this.#flush()
  }

  async *#directory(path: string, prefix: string): AsyncGenerator<Uint8Array, void, undefined> {
    for (const { name, entry } of listSorted(path)) {
      throwIfAborted(this.#options.signal)
      const relative = prefix + name
      if (this.#excluded.has(relative)) continue
      yield* this.#entry(`${path}/${name}`, relative, entry, true)
    }
  }

  async *#named(root: string, only: readonly string[]): AsyncGenerator<Uint8Array, void, undefined> {
    for (const path of only) {
      throwIfAborted(this.#options.signal)
      const relative = innerPath(path, 'only')
      if (!this.#liesInTree(root, relative)) continue
      const full = `${root}/${relative}`
      const stats = lstatSync(systemPath(full), { throwIfNoEntry: false })
      if (stats !== undefined && !this.#smallFile(full, relative, stats)) {
        yield* this.#entry(full, relative, stats, false)
      }
    }
  }

  /**
   * Most files are small and fit what is left of the chunk: those are packed here, with a call less to the system and without
   * a generator. False for all others, of which nothing is packed then.
   */
  #smallFile(full: string, relative: string, stats: Stats): boolean {
    const room = this.#chunk.byteLength - this.#fill
    if (!stats.isFile() || stats.size > SMALL_FILE_BYTES || room < stats.size + MOST_OVERHEAD_BYTES) return false
    const head = header('0', relative, '', stats.size, stats, true)
    if (head.byteLength > TAR_BLOCK_BYTES) return false
    let descriptor: number
    try {
      descriptor = openSync(systemPath(full), READ_FLAGS)
    } catch {
      return false // gone or replaced, which is told where such things are told
    }
    try {
      this.#chunk.set(head, this.#fill)
      this.#content(full, descriptor, this.#fill + TAR_BLOCK_BYTES, stats.size)
    } catch (error) {
      throw fileError(error, 'pack', full)
    } finally {
      closeSync(descriptor)
    }
    return true
  }

  /** Reads a whole file, which must have this size, to this place of the chunk. */
  #content(path: string, descriptor: number, at: number, sizeBytes: number): void {
    // One byte more than promised, to see whether it grew.
    if (readSync(descriptor, this.#chunk, at, sizeBytes + 1, null) !== sizeBytes) throw changed(path, sizeBytes)
    const end = at + sizeBytes + paddingAfter(sizeBytes)
    this.#chunk.fill(0, at + sizeBytes, end)
    this.#fill = end
    this.#moved(1, sizeBytes)
  }

  /** A link on the way would lead out of the tree. */
  #liesInTree(root: string, relative: string): boolean {
    const slash = relative.lastIndexOf('/')
    const parent = slash < 0 ? '' : relative.slice(0, slash)
    if (parent === '' || this.#parents.has(parent)) return true
    if (!this.#liesInTree(root, parent)) return false
    if (lstatSync(systemPath(`${root}/${parent}`), { throwIfNoEntry: false })?.isDirectory() !== true) return false
    this.#parents.add(parent)
    return true
  }

  async *#entry(
    full: string,
    relative: string,
    kind: Pick<Stats, 'isFile' | 'isDirectory' | 'isSymbolicLink'>,
    descends: boolean,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      if (kind.isFile()) {
        yield* this.#file(full, relative, READ_FLAGS)
      } else if (kind.isDirectory()) {
        const stats = lstatSync(systemPath(full))
        if (!stats.isDirectory()) return
        yield* this.#append(header('5', `${relative}/`, '', 0, stats))
        if (descends) yield* this.#directory(full, `${relative}/`)
      } else if (kind.isSymbolicLink()) {
        const stats = lstatSync(systemPath(full))
        const target = bytesToText(readlinkSync(systemPath(full), 'buffer'))
        yield* this.#append(header('2', relative, target, 0, stats))
        this.#moved(1, 0)
      }
    } catch (error) {
      // Gone or replaced since the directory was listed: as if it had never been there.
      const errno = errnoOf(error)
      if (errno !== 'ENOENT' && errno !== 'ELOOP' && errno !== 'EINVAL' && errno !== 'ENXIO') {
        throw fileError(error, 'pack', full)
      }
    }
  }

  async *#file(path: string, name: string, flags: number): AsyncGenerator<Uint8Array, void, undefined> {
    const descriptor = openSync(systemPath(path), flags)
    let bigFile: Stats | undefined
    try {
      const stats = fstatSync(descriptor)
      if (!stats.isFile()) return
      if (stats.size > SMALL_FILE_BYTES) {
        bigFile = stats
      } else {
        yield* this.#append(header('0', name, '', stats.size, stats, this.#options.only !== undefined))
        if (this.#chunk.byteLength - this.#fill < stats.size + TAR_BLOCK_BYTES) yield this.#flush()
        this.#content(path, descriptor, this.#fill, stats.size)
      }
    } finally {
      closeSync(descriptor)
    }
    if (bigFile !== undefined) yield* this.#bigFile(path, name, flags, bigFile)
  }

  async *#bigFile(path: string, name: string, flags: number, seen: Stats): AsyncGenerator<Uint8Array, void, undefined> {
    const file = await open(systemPath(path), flags)
    try {
      const stats = await file.stat()
      if (stats.ino !== seen.ino || !stats.isFile()) throw changed(path, seen.size)
      yield* this.#append(header('0', name, '', stats.size, stats, this.#options.only !== undefined))
      let missing = stats.size
      while (missing > 0) {
        throwIfAborted(this.#options.signal)
        const length = Math.min(missing, this.#chunk.byteLength - this.#fill)
        const { bytesRead } = await file.read(this.#chunk, this.#fill, length, null)
        if (bytesRead === 0) throw changed(path, stats.size)
        this.#fill += bytesRead
        missing -= bytesRead
        this.#moved(0, bytesRead)
        if (this.#fill === this.#chunk.byteLength) yield this.#flush()
      }
      if ((await file.stat()).size !== stats.size) throw changed(path, stats.size)
      yield* this.#append(Buffer.alloc(paddingAfter(stats.size)))
      this.#moved(1, 0)
    } finally {
      await file.close()
    }
  }

  *#append(bytes: Uint8Array): Generator<Uint8Array, void, undefined> {
    let rest = bytes
    while (rest.byteLength > 0) {
      const part = rest.subarray(0, this.#chunk.byteLength - this.#fill)
      this.#chunk.set(part, this.#fill)
      this.#fill += part.byteLength
      rest = rest.subarray(part.byteLength)
      if (this.#fill === this.#chunk.byteLength) yield this.#flush()
    }
  }

  #flush(): Uint8Array {
    const full = this.#chunk.subarray(0, this.#fill)
    this.#chunk = this.#free.pop() ?? Buffer.allocUnsafeSlow(CHUNK_BYTES)
    this.#fill = 0
    return full
  }

  #moved(files: number, bytes: number): void {
    this.result.files += files
    this.result.bytes += bytes
    this.#options.onProgress?.({ files: this.result.files, bytes: this.result.bytes })
  }
}

function listSorted(path: string): { readonly name: string; readonly entry: Dirent<Buffer> }[] {
  // @types/node 20 lacks the overload for buffers with file types.
  const list = readdirSync as unknown as (
    path: string | Buffer,
    options: { encoding: 'buffer'; withFileTypes: true },
  ) => Dirent<Buffer>[]
  return list(systemPath(path), { encoding: 'buffer', withFileTypes: true })
    .map((entry) => ({ name: bytesToText(entry.name), entry }))
    .sort((first, second) => (first.name < second.name ? -1 : 1))
}

/** A file written just now may be written again within the same second: only the fraction tells that. */
const RECENT_MS = 2000

function header(
  type: string,
  name: string,
  linkName: string,
  sizeBytes: number,
  stats: Stats,
  isExact = false,
): Uint8Array {
  const isRecent = isExact && Date.now() - stats.mtimeMs < RECENT_MS
  const modifiedSeconds = isRecent ? stats.mtimeMs / 1000 : Math.floor(stats.mtimeMs / 1000)
  return encodeTarHeader({ type, name, linkName, sizeBytes, mode: stats.mode & 0o7777, modifiedSeconds })
}

function innerPath(path: string, field: 'exclude' | 'only'): string {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.')
  if (path.startsWith('/') || parts.includes('..') || parts.length === 0) {
    throw new AnyplaceError(
      'invalid-argument',
      `${field} must hold paths inside the tree (got ${JSON.stringify(path)}).`,
      {
        field,
      },
    )
  }
  return parts.join('/')
}

function changed(path: string, sizeBytes: number): AnyplaceError {
  return new AnyplaceError(
    'conflict',
    `${JSON.stringify(path)} changed while it was read (it had ${sizeBytes} bytes at first).`,
    { hint: 'try again when nothing writes to it, or leave it out with exclude', retryable: true, data: { path } },
  )
}
