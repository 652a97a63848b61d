import { mkdirSync, realpathSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { AnyplaceError } from '../spec/index.ts'
import type { TreeResult } from '../spec/index.ts'
import { childChannel } from './child-channel.ts'
import { fileError } from './file-error.ts'
import { systemPath } from './system-path.ts'
import type { TarHeader } from './tar-header.ts'
import { TarReader } from './tar-reader.ts'
import { assertNoNul } from './text-bytes.ts'
import { TreeWriter } from './tree-writer.ts'

/** Options of {@link unpackTree}. */
export interface UnpackOptions {
  /** True: the archive's one file becomes `localPath` itself. False: `localPath` is the directory for all entries. */
  readonly asFile: boolean
  readonly onProgress?: ((moved: TreeResult) => void) | undefined
  readonly signal?: AbortSignal | undefined
  /** Headers accepted, those of long names included. @default 2_000_000 */
  readonly maxEntries?: number | undefined
  /** Names that were asked for. An archive with any other entry is refused: its maker may not choose what is written here. */
  readonly accepts?: ((name: string) => boolean) | undefined
  /** Force everything to disk once at the end. @default false */
  readonly sync?: boolean | undefined
}

const DEFAULT_MAX_ENTRIES = 2_000_000

/**
 * Unpacks a tar that nobody vouches for. Nothing is ever written outside `localPath` and no link is followed below it;
 * each file appears whole or not at all (below a directory that this makes: as it comes). Permission bits and times are kept; owners, set-id and sticky bits are not.
 * `files` of the result counts all but directories.
 *
 * Refused with `unsafe-archive` and the entry's name: absolute names, `..`, names under a link, links that lead out of the
 * tree, devices, pipes, sparse files, other kinds. A file does not replace a directory that holds something
 * (`is-a-directory`), nor a directory a file (`not-a-directory`).
 *
 * Also fails with `protocol-error` for a damaged or cut archive, `resource-exhausted` above maxEntries, `no-space`,
 * `permission-denied`. What was unpacked before a failure stays.
 */
export async function unpackTree(
  source: AsyncIterable<Uint8Array>,
  localPath: string,
  options: UnpackOptions,
): Promise<TreeResult> {
  const reader = new TarReader(source, {
    maxEntries: options.maxEntries ?? DEFAULT_MAX_ENTRIES,
    signal: options.signal,
  })
  try {
    assertNoNul(localPath, 'localPath')
    const path = resolve(localPath)
    const result = await (options.asFile ? unpackFile(reader, path, options) : unpackAll(reader, path, options))
    if (options.sync === true) await syncFileSystem(path)
    return result
  } catch (error) {
    reader.release()
    throw fileError(error, 'unpack into', localPath)
  }
}

async function unpackAll(reader: TarReader, path: string, options: UnpackOptions): Promise<TreeResult> {
  const isNew = mkdirSync(systemPath(path), { recursive: true }) !== undefined
  const writer = new TreeWriter(realRoot(path), options.onProgress, { isNew })
  for (let header = await reader.next(); header !== undefined; header = await reader.next()) {
    const name = entryName(header)
    if (name !== '' && options.accepts?.(name) === false) throw unsafe(header.name, 'was not asked for')
    switch (header.type) {
      case '0':
      case '7':
        await writer.file(name, header, reader)
        break
      case '1':
        writer.hardLink(name, linkedName(header))
        break
      case '2':
        writer.symlink(name, symlinkTarget(name, header))
        break
      case '5':
        writer.directory(name, header)
        break
      default:
        throw unsafe(header.name, kindOf(header.type))
    }
  }
  writer.finish()
  return writer.result
}

async function unpackFile(reader: TarReader, path: string, options: UnpackOptions): Promise<TreeResult> {
  const header = await reader.next()
  if (header === undefined) {
    throw new AnyplaceError('protocol-error', `The archive for the file ${JSON.stringify(path)} is empty.`)
  }
  if (header.type !== '0' && header.type !== '7') {
    throw unsafe(header.name, `is ${kindOf(header.type).replace('is ', '')} where one file was expected`)
  }
  mkdirSync(systemPath(dirname(path)), { recursive: true })
  const writer = new TreeWriter(realRoot(dirname(path)), options.onProgress)
  await writer.file(path.slice(path.lastIndexOf('/') + 1), header, reader)
  const second = await reader.next()
  if (second !== undefined) throw unsafe(second.name, 'comes second where one file was expected')
  return writer.result
}

function realRoot(path: string): string {
  const root = realpathSync(systemPath(path)).toString()
  return root === '/' ? '' : root
}

/** The entry's name without `.` and slashes too many; empty for the root itself. */
function entryName(header: TarHeader): string {
  return innerPath(header.name, header.name, 'is')
}

function linkedName(header: TarHeader): string {
  return innerPath(header.linkName, header.name, 'is a link to')
}

function innerPath(path: string, entry: string, verb: string): string {
  if (path.includes('\0')) throw unsafe(entry, `${verb} a name with a NUL`)
  if (path.startsWith('/')) throw unsafe(entry, `${verb} an absolute path`)
  if (path.length > 4096) throw unsafe(entry, `${verb} a path of ${path.length} characters`)
  const parts = path.split('/').filter((part) => part !== '' && part !== '.')
  if (parts.includes('..')) throw unsafe(entry, `${verb} a path with ".."`)
  return parts.join('/')
}

/**
 * Dots that lead up are judged by the text alone, so they may stand at the beginning only: behind a name that is itself
 * a link, they would lead elsewhere than they seem to.
 */
function symlinkTarget(name: string, header: TarHeader): string {
  const target = header.linkName
  if (target === '' || target.includes('\0')) throw unsafe(header.name, 'is a link to nothing')
  if (target.startsWith('/')) throw unsafe(header.name, `is a link to the absolute path ${JSON.stringify(target)}`)
  const parts = target.split('/').filter((part) => part !== '' && part !== '.')
  const ups = parts.findIndex((part) => part !== '..')
  const leading = ups < 0 ? parts.length : ups
  if (parts.slice(leading).includes('..') || leading > name.split('/').length - 1) {
    throw unsafe(header.name, `is a link to ${JSON.stringify(target)}, which may lead out of the tree`)
  }
  return target
}

function unsafe(entry: string, why: string): AnyplaceError {
  const shown = entry.length > 200 ? `${entry.slice(0, 200)}…` : entry
  return new AnyplaceError('unsafe-archive', `Refused the archive: its entry ${JSON.stringify(shown)} ${why}.`, {
    hint: 'leave the entry out with exclude, or look at where the archive comes from',
    data: { entry: shown },
  })
}

const KINDS: Readonly<Record<string, string>> = {
  '1': 'is a hard link',
  '2': 'is a link',
  '3': 'is a device',
  '4': 'is a device',
  '5': 'is a directory',
  '6': 'is a pipe',
  S: 'is a sparse file',
}

function kindOf(type: string): string {
  return KINDS[type] ?? `is of the unknown kind ${JSON.stringify(type)}`
}

/** The `sync` program, because Node has no call for a whole file system and one per file takes minutes. */
async function syncFileSystem(path: string): Promise<void> {
  for (const argv of [['sync', '-f', path], ['sync']]) {
    await using channel = await childChannel(argv)
    channel.stdin.end()
    channel.stdout.resume()
    channel.stderr.resume()
    if ((await channel.exit).exitCode === 0) return
  }
  throw new AnyplaceError('internal', `Cannot force ${JSON.stringify(path)} to disk: sync failed.`)
}
