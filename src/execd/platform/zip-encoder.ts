import { promisify } from 'node:util'
import { crc32, deflateRaw } from 'node:zlib'
import { AnyplaceError } from '../../spec/index.ts'
import { textToBytes, utf8Lossy } from '../../kit/text-bytes.ts'
import type { TarEntry } from './tar-entries.ts'

const deflate = promisify(deflateRaw)
const UTF8_NAMES = 0x0800
const STORED = 0
const DEFLATED = 8
const MADE_ON_UNIX = 0x0314
const MAX_FILE_BYTES = 1024 * 1024 * 1024
const MAX_COUNT = 0xffff
const UNIX_TYPES: Readonly<Record<string, number>> = { '0': 0o100000, '2': 0o120000, '5': 0o040000 }

/**
 * Entries as a zip of the classic format (no zip64: at most 65,535 entries and 4 GiB). A hard link becomes a copy, which
 * is why files that were linked to are held until the end.
 *
 * @throws AnyplaceError `resource-exhausted` beyond those limits
 */
export async function* encodeZip(entries: AsyncIterable<TarEntry>): AsyncGenerator<Uint8Array, void, undefined> {
  const directory: Uint8Array[] = []
  const stored = new Map<string, StoredFile>()
  let offset = 0
  for await (const { body, header } of entries) {
    const linked = header.type === '1' ? stored.get(header.linkName) : undefined
    const file = linked ?? (await store(header.type === '2' ? [textToBytes(header.linkName)] : body))
    if (header.type === '0') stored.set(header.name, file)
    const isDirectory = header.type === '5'
    // A zip's names are UTF-8; bytes that are not become U+FFFD.
    const name = Buffer.from(utf8Lossy(textToBytes(isDirectory ? `${header.name.replace(/\/+$/, '')}/` : header.name)))
    const type = header.type === '1' ? '0' : header.type
    const mode = (UNIX_TYPES[type] ?? 0o100000) | (header.mode & 0o7777)
    const common = commonFields(file, name, header.modifiedSeconds)
    const local = Buffer.alloc(4)
    local.writeUInt32LE(0x04034b50)
    const central = Buffer.alloc(6)
    central.writeUInt32LE(0x02014b50)
    central.writeUInt16LE(MADE_ON_UNIX, 4)
    const attributes = Buffer.alloc(14)
    attributes.writeUInt32LE(((mode << 16) | (isDirectory ? 0x10 : 0)) >>> 0, 6)
    attributes.writeUInt32LE(offset, 10)
    directory.push(Buffer.concat([central, common, attributes, name]))
    if (directory.length > MAX_COUNT) throw tooLarge(`more than ${MAX_COUNT} entries`)
    const written = Buffer.concat([local, common, name, file.bytes])
    offset += written.byteLength
    if (offset > 0xffffffff) throw tooLarge('more than 4 GiB')
    yield written
  }
  const central = Buffer.concat(directory)
  const end = Buffer.alloc(22)
  end.writeUInt32LE(0x06054b50)
  end.writeUInt16LE(directory.length, 8)
  end.writeUInt16LE(directory.length, 10)
  end.writeUInt32LE(central.byteLength, 12)
  end.writeUInt32LE(offset, 16)
  yield Buffer.concat([central, end])
}

interface StoredFile {
  readonly bytes: Uint8Array
  readonly sizeBytes: number
  readonly checksum: number
  readonly method: number
}

async function store(body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<StoredFile> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of body) {
    length += chunk.byteLength
    if (length > MAX_FILE_BYTES) throw tooLarge('a file of more than 1 GiB')
    chunks.push(Buffer.from(chunk))
  }
  const plain = Buffer.concat(chunks, length)
  const packed = await deflate(plain)
  const isSmaller = packed.byteLength < length
  return {
    bytes: isSmaller ? packed : plain,
    sizeBytes: length,
    checksum: crc32(plain),
    method: isSmaller ? DEFLATED : STORED,
  }
}

/** From "version needed" to "extra field length": the same in a local header and in the central directory. */
function commonFields(file: StoredFile, name: Uint8Array, modifiedSeconds: number): Buffer {
  const fields = Buffer.alloc(26)
  fields.writeUInt16LE(20, 0)
  fields.writeUInt16LE(UTF8_NAMES, 2)
  fields.writeUInt16LE(file.method, 4)
  const date = new Date(Math.max(modifiedSeconds, 315_532_800) * 1000)
  fields.writeUInt16LE((date.getUTCHours() << 11) | (date.getUTCMinutes() << 5) | (date.getUTCSeconds() >> 1), 6)
  const year = Math.min(date.getUTCFullYear() - 1980, 127)
  fields.writeUInt16LE((year << 9) | ((date.getUTCMonth() + 1) << 5) | date.getUTCDate(), 8)
  fields.writeUInt32LE(file.checksum, 10)
  fields.writeUInt32LE(file.bytes.byteLength, 14)
  fields.writeUInt32LE(file.sizeBytes, 18)
  fields.writeUInt16LE(name.byteLength, 22)
  return fields
}

function tooLarge(what: string): AnyplaceError {
  return new AnyplaceError('resource-exhausted', `A zip cannot hold ${what}.`, { hint: 'use tar.gz', retryable: false })
}
