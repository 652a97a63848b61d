import type { CallOptions } from './channel.ts'

export interface FileInfo {
  /** As asked for; in a listing, relative to the listed directory. */
  readonly path: string
  readonly type: 'file' | 'directory' | 'symlink' | 'other'
  readonly sizeBytes: number
  /** Permission bits, 0o7777 at most. */
  readonly mode: number
  readonly modifiedAt: Date
  readonly uid: number
  readonly gid: number
  /** Where a symlink points, as written in it. */
  readonly target?: string | undefined
}

export interface WriteOptions extends CallOptions {
  /** @default 0o644, or the mode of the file that is replaced */
  readonly mode?: number | undefined
}

export interface ListOptions extends CallOptions {
  /** @default false */
  readonly recursive?: boolean | undefined
  /** @default 10_000 */
  readonly maxEntries?: number | undefined
}

export interface Listing {
  /** Sorted by path. */
  readonly entries: readonly FileInfo[]
  /** How many there are, also beyond maxEntries. */
  readonly total: number
  readonly truncated: boolean
  /** Directories below that could not be read, at most 100; missing where the place cannot tell. */
  readonly unreadable?: readonly string[] | undefined
}

export interface TreeOptions extends CallOptions {
  /** Glob-free prefix paths (relative to the root) to leave out, such as `.git` or `data/raw`. */
  readonly exclude?: readonly string[] | undefined
  /** Exactly these paths (relative to the root) of a directory and nothing else; a directory stands for itself, not for what is in it. @default everything */
  readonly only?: readonly string[] | undefined
  /** Called as bytes move. */
  readonly onProgress?: ((moved: { readonly files: number; readonly bytes: number }) => void) | undefined
  /** Force everything to disk once at the end. @default false */
  readonly sync?: boolean | undefined
}

export interface TreeResult {
  readonly files: number
  readonly bytes: number
}

export interface ArchiveOptions extends CallOptions {
  /** @default 'tar.gz' */
  readonly format?: 'tar.gz' | 'tar' | 'zip' | undefined
  /** Fails with `resource-exhausted` beyond it. @default 104_857_600 */
  readonly maxBytes?: number | undefined
  /** @default 10_000 */
  readonly maxEntries?: number | undefined
}

/**
 * Files of a sandbox, with the rights of the sandbox's user. Relative paths resolve against its workdir.
 * A missing path is `file-not-found`, a forbidden one `permission-denied`; one is never reported as the other.
 */
export interface Files {
  /** The whole file. Fails with `resource-exhausted` above maxBytes. @default maxBytes 64 MiB */
  read(path: string, options?: CallOptions & { readonly maxBytes?: number }): Promise<Uint8Array>
  readText(path: string, options?: CallOptions & { readonly maxBytes?: number }): Promise<string>
  /** Any size, constant memory, optionally a range of bytes. */
  readStream(
    path: string,
    options?: CallOptions & { readonly offset?: number; readonly length?: number },
  ): Promise<ReadableStream<Uint8Array>>
  /** Atomic: a reader sees the old file or the new one. Parents are made. */
  write(path: string, content: string | Uint8Array | AsyncIterable<Uint8Array>, options?: WriteOptions): Promise<void>
  list(path?: string, options?: ListOptions): Promise<Listing>
  /** Does not follow a link at the end of the path. */
  stat(path: string, options?: CallOptions): Promise<FileInfo>
  exists(path: string, options?: CallOptions): Promise<boolean>
  /** A directory needs `recursive`. A missing path is an error unless `force`. */
  remove(
    path: string,
    options?: CallOptions & { readonly recursive?: boolean; readonly force?: boolean },
  ): Promise<void>
  /** Parents are made; no error when it exists. */
  makeDirectory(path: string, options?: CallOptions & { readonly mode?: number }): Promise<void>
  /** A local file or tree into the sandbox, as one stream. Links, modes and times are kept; nothing lands outside remotePath. */
  upload(localPath: string, remotePath: string, options?: TreeOptions): Promise<TreeResult>
  /** A file or tree of the sandbox to this machine. The sandbox is not trusted: nothing lands outside localPath. */
  download(remotePath: string, localPath: string, options?: TreeOptions): Promise<TreeResult>
  /** A directory or file as one archive, with caps; `sha256` is of the archive's bytes. */
  archive(
    path: string,
    options?: ArchiveOptions,
  ): Promise<{ readonly bytes: Uint8Array; readonly sha256: string; readonly entries: number }>
}
