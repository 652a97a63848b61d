import { createHash } from 'node:crypto'
import { posix } from 'node:path'
import { AnyplaceError } from '../spec/index.ts'
import type { ArchiveOptions, CallOptions, Files, ListOptions, Listing } from '../spec/index.ts'

const MAX_LINKS = 40
const DEFAULT_MAX_BYTES = 10 * 1024 * 1024

export interface ReadArtifactOptions extends CallOptions {
  /** `text` refuses what is not UTF-8. @default 'text' */
  readonly encoding?: 'text' | 'base64' | undefined
  /** Fails with `resource-exhausted` beyond it. @default 10_485_760 */
  readonly maxBytes?: number | undefined
}

/** One file of the results. */
export interface Artifact {
  /** As asked for. */
  readonly path: string
  readonly content: string
  readonly encoding: 'text' | 'base64'
  readonly sizeBytes: number
  /** Of the file's bytes, hex. */
  readonly sha256: string
}

/** Reads results below one root. A path that leaves the root, by `..`, absolute or through a link, is `permission-denied`. */
export class Artifacts {
  /** Absolute, inside the sandbox. */
  readonly root: string
  readonly #files: Files

  constructor(files: Files, root: string) {
    this.#files = files
    this.root = root
  }

  /** The same confined to another directory; a relative one is below this root. */
  at(root: string): Artifacts {
    return new Artifacts(this.#files, posix.resolve(this.root, root))
  }

  /** @throws AnyplaceError `file-not-found`, `resource-exhausted`, `permission-denied` outside the root, `invalid-argument` when it is not text */
  async read(path: string, options: ReadArtifactOptions = {}): Promise<Artifact> {
    const { encoding = 'text', maxBytes = DEFAULT_MAX_BYTES, signal } = options
    const target = await this.#resolve(path, { signal })
    const bytes = await this.#files.read(target, { maxBytes, ...(signal ? { signal } : {}) })
    return {
      path,
      content: encoding === 'base64' ? Buffer.from(bytes).toString('base64') : decode(path, bytes),
      encoding,
      sizeBytes: bytes.byteLength,
      sha256: createHash('sha256').update(bytes).digest('hex'),
    }
  }

  /** What is below the root, or below a directory of it; recursive unless told otherwise. Links are listed, not followed. */
  async list(path = '.', options: ListOptions = {}): Promise<Listing> {
    return this.#files.list(await this.#resolve(path, options), { recursive: true, ...options })
  }

  /** The root, or a part of it, as one archive with caps. Links are kept as links. */
  async archive(path = '.', options: ArchiveOptions = {}): ReturnType<Files['archive']> {
    return this.#files.archive(await this.#resolve(path, options), options)
  }

  /** Follows the path link by link, as the kernel would, and refuses the step that leaves the root. */
  async #resolve(path: string, options: CallOptions): Promise<string> {
    if (path.includes('\0'))
      throw new AnyplaceError('invalid-argument', 'The path must not contain NUL.', { field: 'path' })
    const root = await this.#follow('/', this.root, options, undefined)
    return this.#follow(root, posix.isAbsolute(path) ? relativeTo(this.root, path) : path, options, root)
  }

  async #follow(start: string, path: string, options: CallOptions, root: string | undefined): Promise<string> {
    const signal = options.signal ? { signal: options.signal } : {}
    const pending = path.split('/')
    let current = start
    let links = 0
    while (pending.length > 0) {
      const step = pending.shift()
      if (step === undefined || step === '' || step === '.') continue
      const next = posix.join(current, step)
      if (root !== undefined && !isWithin(root, next)) throw outside(path, this.root)
      if (step === '..') {
        current = next
        continue
      }
      const found = await this.#files.stat(next, signal)
      if (found.type !== 'symlink') {
        current = next
        continue
      }
      if (++links > MAX_LINKS)
        throw new AnyplaceError('invalid-argument', `${JSON.stringify(path)} has too many links.`)
      const target = found.target ?? ''
      if (posix.isAbsolute(target)) {
        if (root === undefined) current = '/'
        else if (isWithin(root, posix.normalize(target))) {
          pending.unshift(...posix.relative(root, posix.normalize(target)).split('/'))
          current = root
          continue
        } else throw outside(path, this.root)
      }
      pending.unshift(...target.split('/'))
    }
    return current
  }
}

function relativeTo(root: string, path: string): string {
  const relative = posix.relative(root, path)
  return relative === '' ? '.' : relative
}

function isWithin(root: string, path: string): boolean {
  return root === '/' || path === root || path.startsWith(`${root}/`)
}

function outside(path: string, root: string): AnyplaceError {
  return new AnyplaceError('permission-denied', `${JSON.stringify(path)} leads out of ${JSON.stringify(root)}.`, {
    field: 'path',
    hint: 'artifacts are read below their root only; files.read reaches other paths',
  })
}

function decode(path: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch (cause) {
    throw new AnyplaceError('invalid-argument', `${JSON.stringify(path)} is not UTF-8 text.`, {
      field: 'encoding',
      hint: "ask for encoding: 'base64'",
      cause,
    })
  }
}
