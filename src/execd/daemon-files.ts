import { createHash } from 'node:crypto'
import { stat as localStat } from 'node:fs/promises'
import { AnyplaceError } from '../spec/index.ts'
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
} from '../spec/index.ts'
import { abortError, throwIfAborted } from '../kit/deadline.ts'
import { fileError } from '../kit/file-error.ts'
import { systemPath } from '../kit/system-path.ts'
import { packTree, unpackTree } from '../kit/tar.ts'
import { utf8Lossy } from '../kit/text-bytes.ts'
import type { DaemonConnection } from './connection.ts'
import { chunksOf, feed, startTransfer } from './file-transfer.ts'
import type { FileTransfer, FilesAction, TransferOptions } from './file-transfer.ts'
import { protocolError } from './frames.ts'
import { inboundReadable } from './inbound-readable.ts'
import type { InboundStream } from './inbound-stream.ts'
import { ListingRecords, fileInfo } from './listing-records.ts'
import { asArray, asInteger, asObject, asText, checkFileInfo } from './wire-checks.ts'

const READ_BYTES = 64 * 1024 * 1024
const LIST_ENTRIES = 10_000
const ARCHIVE_BYTES = 104_857_600
const MAX_LINKS = 20

/** Files of a sandbox through its exec daemon: each call is one request, and streams for what is large. */
export class DaemonFiles implements Files {
  readonly #connection: DaemonConnection
  readonly #slot: string | undefined

  /** `slot`: with the rights of its user, and relative to its home. */
  constructor(connection: DaemonConnection, slot?: string) {
    this.#connection = connection
    this.#slot = slot
  }

  async read(path: string, options: CallOptions & { readonly maxBytes?: number } = {}): Promise<Uint8Array> {
    const maxBytes = checkCount(options.maxBytes, 'maxBytes', READ_BYTES)
    // One byte more than wanted tells that there is more.
    const transfer = this.#start(
      { action: 'read', path, offset: 0, length: maxBytes + 1 },
      { hasOutput: true, check: sizeOnly, signal: options.signal },
    )
    const bytes = gather(transfer.output, maxBytes + 1)
    await transfer.response
    const content = bytes()
    if (content.byteLength > maxBytes) {
      throw new AnyplaceError('resource-exhausted', `File ${JSON.stringify(path)} is longer than ${maxBytes} bytes.`, {
        hint: 'raise maxBytes, or use readStream or download',
        retryable: false,
        data: { limitBytes: maxBytes },
      })
    }
    return content
  }

  async readText(path: string, options: CallOptions & { readonly maxBytes?: number } = {}): Promise<string> {
    return utf8Lossy(await this.read(path, options))
  }

  async readStream(
    path: string,
    options: CallOptions & { readonly offset?: number; readonly length?: number } = {},
  ): Promise<ReadableStream<Uint8Array>> {
    const offset = checkCount(options.offset, 'offset', 0)
    const length = options.length === undefined ? null : checkCount(options.length, 'length', 0)
    const transfer = this.#start(
      { action: 'read', path, offset, length },
      { hasOutput: true, check: sizeOnly, signal: options.signal },
    )
    const { output } = transfer
    // A missing file shall reject here and not at the first read: wait for the first sign.
    await new Promise<void>((resolve) => {
      output.onArrival = () => resolve()
      transfer.response.then(
        () => resolve(),
        () => resolve(),
      )
    })
    output.onArrival = undefined
    if (output.error !== undefined && output.queuedBytes === 0) throw output.error
    return inboundReadable(output, () =>
      transfer.cancel(new AnyplaceError('cancelled', `Reading ${JSON.stringify(path)} was stopped.`)),
    )
  }

  async write(
    path: string,
    content: string | Uint8Array | AsyncIterable<Uint8Array>,
    options: WriteOptions = {},
  ): Promise<void> {
    const { mode = null, signal } = options
    if (mode !== null) checkMode(mode)
    const whole =
      typeof content === 'string' ? Buffer.from(content, 'utf8') : content instanceof Uint8Array ? content : undefined
    const transfer = this.#start({ action: 'write', path, mode }, { hasInput: true, check: sizeOnly, signal })
    if (whole === undefined) {
      await feed(transfer, content as AsyncIterable<Uint8Array>)
      return
    }
    // What fits the window leaves with the request, in one write.
    transfer.input.write(whole).then(
      () => transfer.input.end(),
      () => undefined,
    )
    if (transfer.input.sentOffset === whole.byteLength) transfer.input.end()
    await transfer.response
  }

  async list(path = '.', options: ListOptions = {}): Promise<Listing> {
    const maxEntries = checkCount(options.maxEntries, 'maxEntries', LIST_ENTRIES)
    const what = 'the response to list'
    const records = new ListingRecords(what, maxEntries)
    const transfer = this.#start(
      { action: 'list', path, recursive: options.recursive ?? false, maxEntries },
      {
        hasOutput: true,
        signal: options.signal,
        check(value) {
          const response = asObject(value, what)
          records.finish()
          const unreadable = asArray(response['unreadable'], `${what}.unreadable`)
          return {
            total: asInteger(response, 'total', what),
            unreadable: unreadable
              .slice(0, 100)
              .map((_, index) => asText(unreadable as never, `${index}`, what, 65_536)),
          }
        },
      },
    )
    transfer.output.pipeTo((bytes) => records.push(bytes))
    const { total, unreadable } = await transfer.response
    const { entries } = records
    return { entries, total, truncated: total > entries.length, ...(unreadable.length === 0 ? {} : { unreadable }) }
  }

  async stat(path: string, options: CallOptions = {}): Promise<FileInfo> {
    const check = (value: unknown): FileInfo => ({ ...fileInfo(checkFileInfo(value, 'the response to stat')), path })
    return await this.#start({ action: 'stat', path }, { check, signal: options.signal }).response
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
    const { recursive = false, force = false, signal } = options
    await this.#start({ action: 'remove', path, recursive, force }, { check: nothing, signal }).response
  }

  async makeDirectory(path: string, options: CallOptions & { readonly mode?: number } = {}): Promise<void> {
    const { mode = null, signal } = options
    if (mode !== null) checkMode(mode)
    await this.#start({ action: 'mkdir', path, mode }, { check: nothing, signal }).response
  }

  async upload(localPath: string, remotePath: string, options: TreeOptions = {}): Promise<TreeResult> {
    const { signal, exclude, only, onProgress, sync = false } = options
    throwIfAborted(signal)
    let isDirectory: boolean
    try {
      isDirectory = (await localStat(systemPath(localPath))).isDirectory()
    } catch (error) {
      throw fileError(error, 'upload', localPath)
    }
    const packed = packTree(localPath, { exclude, only, onProgress, signal })
    const transfer = this.#start(
      { action: 'unpack', path: remotePath, asFile: !isDirectory, sync },
      { hasInput: true, check: treeResult, signal },
    )
    try {
      await feed(transfer, packed.chunks, packed.release)
    } finally {
      void packed.chunks.return()
    }
    const { files, bytes } = await packed.result
    return { files, bytes }
  }

  async download(remotePath: string, localPath: string, options: TreeOptions = {}): Promise<TreeResult> {
    const { signal, exclude = [], only, onProgress, sync = false } = options
    const { path, isDirectory } = await this.#followed(remotePath, signal)
    const action = { action: 'pack', path, exclude, ...(only === undefined ? {} : { only }) } as const
    const transfer = this.#start(action, { hasOutput: true, check: treeResult, signal })
    const asked = only === undefined ? undefined : new Set(only)
    let result: TreeResult
    try {
      result = await unpackTree(chunksOf(transfer.output), localPath, {
        asFile: !isDirectory,
        accepts: asked && ((name) => asked.has(name)),
        onProgress,
        signal,
        sync,
      })
      // Padding behind the archive's end; the response follows it.
      transfer.output.discard()
    } catch (error) {
      transfer.cancel(
        new AnyplaceError('cancelled', `Downloading ${JSON.stringify(remotePath)} was stopped.`, { cause: error }),
      )
      throw error
    }
    await transfer.response
    return result
  }

  async archive(
    path: string,
    options: ArchiveOptions = {},
  ): Promise<{ readonly bytes: Uint8Array; readonly sha256: string; readonly entries: number }> {
    const { format = 'tar.gz', signal } = options
    const maxBytes = checkCount(options.maxBytes, 'maxBytes', ARCHIVE_BYTES)
    const maxEntries = checkCount(options.maxEntries, 'maxEntries', LIST_ENTRIES)
    const what = 'the response to archive'
    const transfer = this.#start(
      { action: 'archive', path, format, maxBytes, maxEntries },
      {
        hasOutput: true,
        signal,
        check(value) {
          const response = asObject(value, what)
          return { entries: asInteger(response, 'entries', what), sha256: asText(response, 'sha256', what, 64) }
        },
      },
    )
    const gathered = gather(transfer.output, maxBytes)
    const { entries, sha256 } = await transfer.response
    const bytes = gathered()
    const actual = createHash('sha256').update(bytes).digest('hex')
    if (actual !== sha256) {
      throw protocolError(
        `The archive of ${JSON.stringify(path)} arrived damaged: its sha256 is ${actual}, not ${JSON.stringify(sha256)}.`,
      )
    }
    return { bytes, sha256, entries }
  }

  #start<T>(action: FilesAction, options: TransferOptions<T>): FileTransfer<T> {
    const { signal } = options
    throwIfAborted(signal)
    const where = this.#slot === undefined ? action : { ...action, slot: this.#slot }
    const transfer = startTransfer(this.#connection, where, options)
    if (signal !== undefined) {
      const onAbort = (): void => transfer.cancel(abortError(signal))
      const done = (): void => signal.removeEventListener('abort', onAbort)
      signal.addEventListener('abort', onAbort, { once: true })
      transfer.response.then(done, done)
    }
    return transfer
  }

  /** Where a named link leads, since a download of it means what it points to. */
  async #followed(
    remotePath: string,
    signal: AbortSignal | undefined,
  ): Promise<{ readonly path: string; readonly isDirectory: boolean }> {
    let path = remotePath
    for (let links = 0; links < MAX_LINKS; links++) {
      const info = await this.stat(path, { signal })
      if (info.type === 'directory') return { path, isDirectory: true }
      if (info.type !== 'symlink' || info.target === undefined) return { path, isDirectory: false }
      const trimmed = path.replace(/\/+$/, '')
      path = info.target.startsWith('/') ? info.target : trimmed.slice(0, trimmed.lastIndexOf('/') + 1) + info.target
    }
    throw new AnyplaceError(
      'invalid-argument',
      `${JSON.stringify(remotePath)} is a chain of more than ${MAX_LINKS} links.`,
    )
  }
}

/** Collects a stream's bytes as they come. More than maxBytes is a protocol error. */
function gather(stream: InboundStream, maxBytes: number): () => Uint8Array {
  const chunks: Uint8Array[] = []
  let length = 0
  stream.pipeTo((bytes) => {
    length += bytes.byteLength
    if (length > maxBytes) throw protocolError(`${stream.label} is longer than the ${maxBytes} bytes asked for.`)
    // The bytes are only lent, and may be a small view of much memory.
    chunks.push(Uint8Array.prototype.slice.call(bytes))
  })
  return () => {
    const content = new Uint8Array(length)
    let at = 0
    for (const chunk of chunks) {
      content.set(chunk, at)
      at += chunk.byteLength
    }
    return content
  }
}

function sizeOnly(value: unknown): { readonly size: number } {
  const what = 'the response to files'
  return { size: asInteger(asObject(value, what), 'size', what) }
}

function treeResult(value: unknown): TreeResult {
  const what = 'the response to files'
  const response = asObject(value, what)
  return { files: asInteger(response, 'files', what), bytes: asInteger(response, 'bytes', what) }
}

function nothing(value: unknown): void {
  asObject(value, 'the response to files')
}

function checkCount(value: number | undefined, field: string, byDefault: number): number {
  if (value === undefined) return byDefault
  if (Number.isSafeInteger(value) && value >= 0) return value
  throw new AnyplaceError('invalid-argument', `${field} must be a whole number of 0 or more (got ${value}).`, { field })
}

function checkMode(mode: number): void {
  if (!Number.isInteger(mode) || mode < 0 || mode > 0o7777) {
    throw new AnyplaceError('invalid-argument', `mode must be from 0 to 0o7777 (got ${mode}).`, { field: 'mode' })
  }
}
