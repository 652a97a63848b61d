import type { PathFilter } from './path-filter.ts'

/** One thing of a tree, as far as two trees are compared by it. */
export interface TreeEntry {
  /** Relative to the root; never empty, absolute or with `..`. */
  readonly path: string
  readonly type: 'file' | 'directory' | 'symlink'
  readonly sizeBytes: number
  /** Permission bits without set-id and sticky, which no copy keeps. */
  readonly mode: number
  /** Milliseconds; a copy may keep whole seconds only. */
  readonly modifiedMs: number
  readonly target?: string | undefined
}

/** What takes part of one side, by path, parents before what is in them. */
export interface TreeSnapshot {
  readonly entries: ReadonlyMap<string, TreeEntry>
  /** Directories that hold something that was left out: they are never removed as a whole. */
  readonly guarded: ReadonlySet<string>
}

/** What an interrupted transfer may have left: our own half files, which belong to neither side. */
const LEFTOVER = /(^|\/)\.anyplace-[a-z0-9]+(-\d+)?$/
/** And a directory where rsync's files arrive. */
const STAGING = /(^|\/)\.anyplace-[a-z0-9]{12,}$/

function isOurs({ path, type }: TreeEntry): boolean {
  if (!path.includes('.anyplace-')) return false
  return (type === 'file' && LEFTOVER.test(path)) || (type === 'directory' && STAGING.test(path))
}

/** Collects the entries that the filter takes. Parents must come before what is in them. */
export class SnapshotBuilder implements TreeSnapshot {
  readonly entries = new Map<string, TreeEntry>()
  readonly guarded = new Set<string>()
  readonly #filter: PathFilter
  readonly #passed = new Map<string, TreeEntry>()

  constructor(filter: PathFilter) {
    this.#filter = filter
  }

  /** Adds an entry whose parents were not left out. True when what is in it is wanted too. */
  add(entry: TreeEntry): boolean {
    const decision = isOurs(entry) ? 'leave-out' : this.#filter.decide(entry.path, entry.type === 'directory')
    if (decision === 'take') {
      this.#take(entry)
      return true
    }
    this.guard(entry.path)
    if (decision === 'pass-through') this.#passed.set(entry.path, entry)
    return decision === 'pass-through'
  }

  /** Remembers that the directories above hold something that is not ours to touch. */
  guard(path: string): void {
    for (let slash = path.lastIndexOf('/'); slash > 0; slash = path.lastIndexOf('/', slash - 1)) {
      const parent = path.slice(0, slash)
      if (this.guarded.has(parent)) return
      this.guarded.add(parent)
    }
  }

  #take(entry: TreeEntry): void {
    if (this.#passed.size > 0) this.#takeParents(entry)
    this.entries.set(entry.path, entry)
  }

  /** A directory that was passed through matters once something in it is taken. */
  #takeParents(entry: TreeEntry): void {
    const missing: TreeEntry[] = []
    for (let slash = entry.path.lastIndexOf('/'); slash > 0; slash = entry.path.lastIndexOf('/', slash - 1)) {
      const parent = this.#passed.get(entry.path.slice(0, slash))
      if (parent === undefined || this.entries.has(parent.path)) break
      missing.push(parent)
    }
    for (const parent of missing.reverse()) this.entries.set(parent.path, parent)
  }
}
