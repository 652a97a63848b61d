import type { CallOptions } from '../../spec/index.ts'

/** How trees are made alike. */
export interface SyncOptions extends CallOptions {
  /**
   * Move only what matches one of these patterns, or lies below a directory that does. A pattern without a slash matches
   * a name at any depth, one with a slash a path from the root of the tree: `*.py`, `src/**`, `/notes.txt`. A slash at
   * the end matches directories only. @default everything
   */
  readonly include?: readonly string[] | undefined
  /** Leave out what matches, and all below it, also when it is included. It is never deleted either. @default nothing */
  readonly exclude?: readonly string[] | undefined
  /** Remove at the target what the source does not have. @default false */
  readonly delete?: boolean | undefined
  /** Find out what would be done and do nothing. @default false */
  readonly dryRun?: boolean | undefined
  /** Force everything to disk at the end. @default false */
  readonly flush?: boolean | undefined
  /**
   * How files travel. `tar`: what differs moves whole, as one stream; works everywhere. `rsync`: files that are there in
   * another version move as differences; needs rsync on both sides, 3.4.3 or later here and 3.2.7 there, and else fails
   * with `unsupported`. `auto`: rsync for large files behind ssh where both sides have it, tar for all else.
   * @default 'auto'
   */
  readonly method?: 'auto' | 'tar' | 'rsync' | undefined
  /** Called as the work goes on. */
  readonly onProgress?: ((progress: SyncProgress) => void) | undefined
}

export interface SyncProgress {
  readonly phase: 'comparing' | 'moving' | 'deleting'
  /** Files moved so far, and their bytes. */
  readonly files: number
  readonly bytes: number
  /** What there is to move; 0 while comparing. */
  readonly totalFiles: number
  readonly totalBytes: number
}

/** One difference between the trees. */
export interface SyncChange {
  readonly action: 'create' | 'update' | 'delete'
  readonly type: 'file' | 'directory' | 'symlink'
  /** Relative to the root of the tree. */
  readonly path: string
  /** Of a file; 0 for all else. */
  readonly bytes: number
}

export interface SyncResult {
  /** Files and links moved (in a dry run: that would be), and the bytes of the files. */
  readonly files: number
  readonly bytes: number
  /** Things deleted; a directory with all in it counts as one. */
  readonly deleted: number
  /** Files and links that were alike already. */
  readonly unchanged: number
  /** How many of the files moved as differences, by rsync. */
  readonly byRsync: number
  readonly dryRun: boolean
  /** Every difference found, sorted by path; deletions last. */
  readonly changes: readonly SyncChange[]
}
