import {
  closeSync,
  constants,
  fchmodSync,
  futimesSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  rmdirSync,
  symlinkSync,
  writeSync,
} from 'node:fs'
import { open } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { AnyplaceError } from '../spec/index.ts'
import type { TreeResult } from '../spec/index.ts'
import { errnoOf, fileError } from './file-error.ts'
import { newId } from './ids.ts'
import { systemPath } from './system-path.ts'
import type { TarHeader } from './tar-header.ts'
import type { TarReader } from './tar-reader.ts'

const SMALL_FILE_BYTES = 64 * 1024
const BATCH_BYTES = 256 * 1024
const CREATE_FLAGS = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW
const DIRECTORY_FLAGS = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW
const LAST_SECOND = 253_402_300_799 // the end of the year 9999

/**
 * Writes entries below one real directory without ever following a link there. Names must be relative and free of `..`
 * already. Small files are written in one go, because a promise for each step would cost more than the file.
 */
export class TreeWriter {
  result: TreeResult = { files: 0, bytes: 0 }
  readonly #root: string
  readonly #onProgress: ((moved: TreeResult) => void) | undefined
  /** Directories known to be real directories, relative to the root. Nobody but us changes the tree meanwhile. */
  readonly #known = new Set<string>([''])
  /** Modes and times of directories, set at the end: a read-only one must be filled first, and filling changes the time. */
  readonly #directories = new Map<string, TarHeader>()
  readonly #temporary = `.anyplace-${newId()}`
  readonly #isNew: boolean
  #counter = 0

  /**
   * @param root absolute and real; empty for `/`
   * @param options.isNew the root was made just now, so nobody reads there: small files get their own names at once
   */
  constructor(
    root: string,
    onProgress: ((moved: TreeResult) => void) | undefined,
    options: { readonly isNew?: boolean } = {},
  ) {
    this.#root = root
    this.#onProgress = onProgress
    this.#isNew = options.isNew ?? false
  }

  async file(name: string, header: TarHeader, reader: TarReader): Promise<void> {
    const temporary = this.#prepare(name)
    try {
      if (header.sizeBytes > SMALL_FILE_BYTES) {
        await this.#writeBig(temporary, header, reader)
        this.#place(temporary, name)
      } else {
        const pending = reader.readAll()
        const bytes = pending instanceof Uint8Array ? pending : await pending
        if (!this.#isNew || !this.#writeNew(name, header, bytes)) {
          this.#writeSmall(temporary, header, bytes)
          this.#place(temporary, name)
        }
        this.#moved(0, bytes.byteLength)
      }
    } catch (error) {
      this.#discard(temporary)
      throw fileError(error, 'write', name)
    }
    this.#moved(1, 0)
  }

  symlink(name: string, target: string): void {
    const temporary = this.#prepare(name)
    this.#guarded('make link', name, temporary, () => {
      symlinkSync(systemPath(target), systemPath(temporary))
      this.#place(temporary, name)
    })
    this.#moved(1, 0)
  }

  /** @param target another name in the tree, which must be a file */
  hardLink(name: string, target: string): void {
    const temporary = this.#prepare(name)
    this.#guarded('make link', name, temporary, () => {
      this.#assertRealParents(target, name)
      const existing = this.#full(target)
      if (!lstatSync(systemPath(existing)).isFile()) {
        throw unsafe(name, `is a hard link to ${JSON.stringify(target)}, which is not a file`)
      }
      linkSync(systemPath(existing), systemPath(temporary))
      this.#place(temporary, name)
      // Renaming one name of a file over another name of the same file does nothing, by POSIX.
      this.#discard(temporary)
    })
    this.#moved(1, 0)
  }

  directory(name: string, header: TarHeader): void {
    if (name === '') return
    try {
      this.#makeDirectory(name, name)
    } catch (error) {
      throw fileError(error, 'make directory', name)
    }
    this.#directories.set(name, header)
  }

  /** Sets what had to wait. */
  finish(): void {
    // From the last to the first, so that a parent's time is set after its children's mode.
    for (const [name, header] of [...this.#directories].reverse()) {
      try {
        const descriptor = openSync(systemPath(this.#full(name)), DIRECTORY_FLAGS)
        try {
          stamp(descriptor, header)
        } finally {
          closeSync(descriptor)
        }
      } catch (error) {
        throw fileError(error, 'set the mode of directory', name)
      }
    }
  }

  /** False when there is something of that name: the archive names it twice, or the file system folds case. */
  #writeNew(name: string, header: TarHeader, bytes: Uint8Array): boolean {
    const path = this.#full(name)
    try {
      this.#writeSmall(path, header, bytes)
      return true
    } catch (error) {
      if (errnoOf(error) === 'EEXIST') return false
      this.#discard(path)
      throw error
    }
  }

  #writeSmall(path: string, header: TarHeader, bytes: Uint8Array): void {
    const descriptor = openSync(systemPath(path), CREATE_FLAGS, 0o600)
    try {
      let written = 0
      while (written < bytes.byteLength) written += writeSync(descriptor, bytes, written)
      stamp(descriptor, header)
    } finally {
      closeSync(descriptor)
    }
  }

  async #writeBig(temporary: string, header: TarHeader, reader: TarReader): Promise<void> {
    const file = await open(systemPath(temporary), CREATE_FLAGS, 0o600)
    try {
      let writing = Promise.resolve()
      let batch: Uint8Array[] = []
      let batchBytes = 0
      // What comes while one batch is written makes the next.
      for (let isLast = false; !isLast;) {
        const bytes = await reader.readSome(BATCH_BYTES)
        isLast = bytes === undefined
        if (bytes !== undefined) {
          batch.push(bytes)
          batchBytes += bytes.byteLength
        }
        if (batchBytes < BATCH_BYTES && !isLast) continue
        await writing
        writing = this.#writeBatch(file, batch, batchBytes)
        writing.catch(() => {})
        batch = []
        batchBytes = 0
      }
      await writing
      stamp(file.fd, header)
    } finally {
      await file.close()
    }
  }

  async #writeBatch(file: FileHandle, batch: readonly Uint8Array[], byteLength: number): Promise<void> {
    let { bytesWritten } = await file.writev(batch)
    // Rare: a full disk, or a signal. The rest goes piece by piece.
    for (let at = 0, index = 0; bytesWritten < byteLength; index++) {
      const bytes = batch[index]!
      at += bytes.byteLength
      while (bytesWritten < at) {
        bytesWritten += (await file.write(bytes, bytes.byteLength - (at - bytesWritten))).bytesWritten
      }
    }
    this.#moved(0, byteLength)
  }

  /** Makes the parents and gives a path for a temporary file beside the name. */
  #prepare(name: string): string {
    if (name === '') throw unsafe(name, 'would replace the whole tree')
    const slash = name.lastIndexOf('/')
    const parent = slash < 0 ? '' : name.slice(0, slash)
    try {
      if (!this.#known.has(parent)) this.#makeDirectory(parent, name)
    } catch (error) {
      throw fileError(error, 'make directory', parent)
    }
    return `${this.#full(parent)}/${this.#temporary}-${this.#counter++}`
  }

  #makeDirectory(name: string, entry: string): void {
    if (this.#known.has(name)) return
    const slash = name.lastIndexOf('/')
    if (slash >= 0) this.#makeDirectory(name.slice(0, slash), entry)
    const path = systemPath(this.#full(name))
    const stats = lstatSync(path, { throwIfNoEntry: false })
    if (stats === undefined) mkdirSync(path)
    else this.#assertDirectory(stats, name, entry)
    this.#known.add(name)
  }

  #assertRealParents(name: string, entry: string): void {
    for (let slash = name.indexOf('/'); slash >= 0; slash = name.indexOf('/', slash + 1)) {
      const parent = name.slice(0, slash)
      if (!this.#known.has(parent)) this.#assertDirectory(lstatSync(systemPath(this.#full(parent))), parent, entry)
    }
  }

  #assertDirectory(stats: { isSymbolicLink(): boolean; isDirectory(): boolean }, name: string, entry: string): void {
    if (stats.isSymbolicLink()) throw unsafe(entry, `lies under ${JSON.stringify(name)}, which is a link in the target`)
    if (!stats.isDirectory()) {
      throw new AnyplaceError(
        'not-a-directory',
        `Cannot unpack ${JSON.stringify(entry)}: ${JSON.stringify(name)} is there already and is not a directory.`,
      )
    }
  }

  /** Puts the temporary file in its place. A link there is replaced, and so is an empty directory. */
  #place(temporary: string, name: string): void {
    const from = systemPath(temporary)
    const to = systemPath(this.#full(name))
    try {
      renameSync(from, to)
    } catch (error) {
      if (errnoOf(error) !== 'EISDIR' && errnoOf(error) !== 'EEXIST' && errnoOf(error) !== 'ENOTEMPTY') throw error
      try {
        rmdirSync(to)
      } catch (cause) {
        throw new AnyplaceError('is-a-directory', `Cannot replace the directory ${JSON.stringify(name)} by a file.`, {
          hint: 'remove it first',
          cause,
        })
      }
      // On a file system that folds case it may have been known by another spelling.
      this.#known.clear()
      this.#known.add('')
      this.#directories.delete(name)
      renameSync(from, to)
    }
  }

  #guarded(action: string, name: string, temporary: string, work: () => void): void {
    try {
      work()
    } catch (error) {
      this.#discard(temporary)
      throw fileError(error, action, name)
    }
  }

  #discard(temporary: string): void {
    rmSync(systemPath(temporary) as string, { force: true })
  }

  #full(name: string): string {
    return name === '' ? this.#root : `${this.#root}/${name}`
  }

  #moved(files: number, bytes: number): void {
    this.result = { files: this.result.files + files, bytes: this.result.bytes + bytes }
    this.#onProgress?.(this.result)
  }
}

function stamp(descriptor: number, header: TarHeader): void {
  const seconds = Math.min(Math.max(header.modifiedSeconds, -LAST_SECOND), LAST_SECOND)
  if (!Number.isNaN(seconds)) futimesSync(descriptor, seconds, seconds)
  fchmodSync(descriptor, header.mode & 0o777)
}

function unsafe(entry: string, why: string): AnyplaceError {
  return new AnyplaceError('unsafe-archive', `Refused the archive: its entry ${JSON.stringify(entry)} ${why}.`, {
    data: { entry },
  })
}
