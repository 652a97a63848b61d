import { AnyplaceError } from '../spec/index.ts'
import { bytesToText, textToBytes } from './text-bytes.ts'

/** Everything in a tar comes in blocks of this size. */
export const TAR_BLOCK_BYTES = 512

/** What one header says. Names are text as `bytesToText` gives it, so any bytes survive. */
export interface TarHeader {
  /** The type byte as a character: `0` file, `1` hard link, `2` symlink, `5` directory … */
  readonly type: string
  readonly name: string
  readonly linkName: string
  readonly sizeBytes: number
  readonly mode: number
  /** A fraction travels in an extended header. */
  readonly modifiedSeconds: number
}

const NAME_BYTES = 100
const LARGEST_OCTAL = 0o77777777777

/**
 * The blocks that begin an entry, in GNU's format: it carries names of any length and any bytes, and every tar reads it.
 */
export function encodeTarHeader(header: TarHeader): Uint8Array {
  const name = textToBytes(header.name)
  const linkName = textToBytes(header.linkName)
  const blocks: Uint8Array[] = []
  if (!Number.isInteger(header.modifiedSeconds) && Number.isFinite(header.modifiedSeconds)) {
    blocks.push(...exactTime(header.modifiedSeconds))
  }
  if (linkName.byteLength > NAME_BYTES) blocks.push(...longName('K', linkName))
  if (name.byteLength > NAME_BYTES) blocks.push(...longName('L', name))
  const main = block(header.type, name, linkName, header)
  return blocks.length === 0 ? main : Buffer.concat([...blocks, main])
}

function longName(type: string, name: Uint8Array): Uint8Array[] {
  const size = name.byteLength + 1
  const body = Buffer.alloc(size + paddingAfter(size))
  body.set(name)
  const fields = { sizeBytes: size, mode: 0o644, modifiedSeconds: 0 }
  return [block(type, textToBytes('././@LongLink'), new Uint8Array(0), fields), body]
}

function exactTime(seconds: number): Uint8Array[] {
  const record = ` mtime=${seconds.toFixed(6)}\n`
  // The length counts its own digits; below 100 bytes there are two.
  const size = record.length + 2
  const body = Buffer.alloc(size + paddingAfter(size))
  body.write(`${size}${record}`, 'latin1')
  return [
    block('x', textToBytes('././@PaxHeader'), new Uint8Array(0), { sizeBytes: size, mode: 0o644, modifiedSeconds: 0 }),
    body,
  ]
}

function block(
  type: string,
  name: Uint8Array,
  linkName: Uint8Array,
  fields: { readonly sizeBytes: number; readonly mode: number; readonly modifiedSeconds: number },
): Buffer {
  const bytes = Buffer.alloc(TAR_BLOCK_BYTES)
  bytes.set(name.subarray(0, NAME_BYTES), 0)
  putNumber(bytes, 100, 8, fields.mode)
  putNumber(bytes, 108, 8, 0)
  putNumber(bytes, 116, 8, 0)
  putNumber(bytes, 124, 12, fields.sizeBytes)
  putNumber(bytes, 136, 12, Math.floor(fields.modifiedSeconds))
  bytes.write(type, 156, 'latin1')
  bytes.set(linkName.subarray(0, NAME_BYTES), 157)
  bytes.write('ustar  \0', 257, 'latin1')
  bytes.write(checksum(bytes).toString(8).padStart(6, '0') + '\0 ', 148, 'latin1')
  return bytes
}

function putNumber(bytes: Buffer, offset: number, length: number, value: number): void {
  if (value >= 0 && value <= LARGEST_OCTAL && value < 8 ** (length - 1)) {
    bytes.write(value.toString(8).padStart(length - 1, '0'), offset, 'latin1')
    return
  }
  // Base 256, two's complement, first bit set: sizes from 8 GiB on and times before 1970.
  let rest = BigInt(value)
  for (let index = length - 1; index > 0; index--) {
    bytes[offset + index] = Number(rest & 0xffn)
    rest >>= 8n
  }
  bytes[offset] = value < 0 ? 0xff : 0x80
}

/**
 * What a header block says; undefined for a block of zeros, which ends the archive.
 *
 * @throws AnyplaceError `protocol-error` when it is no header
 */
export function decodeTarHeader(bytes: Buffer): TarHeader | undefined {
  const claimed = readNumber(bytes, 148, 8)
  const sum = checksum(bytes)
  if (sum !== claimed) {
    if (sum === 8 * 0x20 && bytes.every((byte) => byte === 0)) return undefined
    throw new AnyplaceError('protocol-error', 'The archive is damaged: a header has a wrong checksum.')
  }
  const isUstar = bytes.toString('latin1', 257, 263) === 'ustar\0'
  const prefix = isUstar ? readText(bytes, 345, 155) : ''
  const name = readText(bytes, 0, NAME_BYTES)
  return {
    type: bytes[156] === 0 ? '0' : String.fromCharCode(bytes[156]!),
    name: prefix === '' ? name : `${prefix}/${name}`,
    linkName: readText(bytes, 157, NAME_BYTES),
    sizeBytes: readNumber(bytes, 124, 12),
    mode: readNumber(bytes, 100, 8),
    modifiedSeconds: readNumber(bytes, 136, 12),
  }
}

/** The records of a pax header; values are text as `bytesToText` gives it. */
export function decodePaxRecords(bytes: Buffer): Map<string, string> {
  const records = new Map<string, string>()
  let offset = 0
  while (offset < bytes.byteLength) {
    const space = bytes.indexOf(0x20, offset)
    const digits = space < 0 ? '' : bytes.toString('latin1', offset, Math.min(space, offset + 20))
    const end = offset + Number(digits)
    const equals = bytes.indexOf(0x3d, offset)
    if (
      !/^[1-9]\d*$/.test(digits) ||
      end > bytes.byteLength ||
      equals < space ||
      equals >= end ||
      bytes[end - 1] !== 0x0a
    ) {
      throw new AnyplaceError('protocol-error', 'The archive is damaged: an extended header cannot be read.')
    }
    records.set(bytes.toString('utf8', space + 1, equals), bytesToText(bytes.subarray(equals + 1, end - 1)))
    offset = end
  }
  return records
}

/** Zeros that fill the last block of a body of that size. */
export function paddingAfter(sizeBytes: number): number {
  const used = sizeBytes % TAR_BLOCK_BYTES
  return used === 0 ? 0 : TAR_BLOCK_BYTES - used
}

/** Text up to the first NUL. */
export function readText(bytes: Buffer, offset: number, length: number): string {
  const field = bytes.subarray(offset, offset + length)
  const end = field.indexOf(0)
  return bytesToText(end < 0 ? field : field.subarray(0, end))
}

function readNumber(bytes: Buffer, offset: number, length: number): number {
  const first = bytes[offset]!
  if (first === 0x80 || first === 0xff) {
    let value = first === 0xff ? -1n : 0n
    for (let index = 1; index < length; index++) value = (value << 8n) | BigInt(bytes[offset + index]!)
    return Number(value)
  }
  let value = 0
  for (let index = offset; index < offset + length; index++) {
    const digit = bytes[index]! - 0x30
    if (digit >= 0 && digit <= 7) value = value * 8 + digit
    else if (value > 0 || bytes[index] === 0) break
  }
  return value
}

/** The sum of all bytes, the checksum's own field taken as spaces. */
function checksum(bytes: Buffer): number {
  let sum = 8 * 0x20
  for (let index = 0; index < 148; index++) sum += bytes[index]!
  for (let index = 156; index < TAR_BLOCK_BYTES; index++) sum += bytes[index]!
  return sum
}
