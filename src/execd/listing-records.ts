import type { FileInfo } from '../spec/index.ts'
import { protocolError } from './frames.ts'
import { checkFileInfo } from './wire-checks.ts'
import { parseWireJson } from './wire-json.ts'

/** One entry's line; a path has at most some KiB. */
const MAX_LINE_BYTES = 512 * 1024
const LINE_FEED = 0x0a
/** Some MiB of memory at most, whatever is in it, and most of a listing comes in such pieces. */
const UNSCANNED_BYTES = 320 * 1024
const TYPES: ReadonlyMap<unknown, FileInfo['type']> = new Map([
  ['f', 'file'],
  ['d', 'directory'],
  ['l', 'symlink'],
  ['o', 'other'],
])

/** Reads a listing as it comes, lines of JSON (protocol.ts). Nothing in it is believed before a check. */
export class ListingRecords {
  readonly entries: FileInfo[] = []
  readonly #maxEntries: number
  readonly #what: string
  #rest: Uint8Array[] = []
  #restLength = 0

  constructor(what: string, maxEntries: number) {
    this.#what = what
    this.#maxEntries = maxEntries
  }

  /** @throws AnyplaceError `protocol-error` */
  push(bytes: Uint8Array): void {
    const end = bytes.lastIndexOf(LINE_FEED)
    if (end >= 0) {
      this.#parse(Buffer.concat([...this.#rest, bytes.subarray(0, end)]))
      this.#rest = []
      this.#restLength = 0
    }
    const tail = bytes.subarray(end + 1)
    if (tail.byteLength === 0) return
    this.#restLength += tail.byteLength
    if (this.#restLength > MAX_LINE_BYTES) throw protocolError(`${this.#what} has an entry that is too long.`)
    // The bytes are only lent.
    this.#rest.push(Uint8Array.prototype.slice.call(tail))
  }

  /** @throws AnyplaceError `protocol-error` when the last entry is cut */
  finish(): void {
    if (this.#restLength > 0) throw protocolError(`${this.#what} ends in the middle of an entry.`)
  }

  #parse(lines: Uint8Array): void {
    const list = Buffer.allocUnsafe(lines.byteLength + 2)
    list[0] = 0x5b
    list.set(lines, 1)
    list[list.byteLength - 1] = 0x5d
    // A line feed cannot stand inside a JSON text, so each one is between two entries.
    for (let at = list.indexOf(LINE_FEED); at >= 0; at = list.indexOf(LINE_FEED, at + 1)) list[at] = 0x2c
    for (const record of parseWireJson(list, this.#what, UNSCANNED_BYTES) as readonly unknown[]) {
      if (this.entries.length >= this.#maxEntries) {
        throw protocolError(`${this.#what} has more than the ${this.#maxEntries} entries asked for.`)
      }
      if (!Array.isArray(record)) throw protocolError(`${this.#what} holds something that is no entry.`)
      const [path, letter, size, mode, mtimeMs, uid, gid, target] = record as readonly unknown[]
      const type = TYPES.get(letter) ?? letter
      const fields = { path, type, size, mode, mtimeMs, uid, gid, ...(target === undefined ? {} : { target }) }
      this.entries.push(fileInfo(checkFileInfo(fields, `${this.#what}[]`)))
    }
  }
}

/** An entry as users see it. */
export function fileInfo(info: ReturnType<typeof checkFileInfo>): FileInfo {
  const { path, type, size, mode, mtimeMs, uid, gid, target } = info
  return {
    path,
    type,
    sizeBytes: size,
    mode,
    modifiedAt: new Date(mtimeMs),
    uid,
    gid,
    ...(target === undefined ? {} : { target }),
  }
}
