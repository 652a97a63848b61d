import { Readable, pipeline } from 'node:stream'
import { createGzip } from 'node:zlib'
import { TAR_BLOCK_BYTES, encodeTarHeader, paddingAfter } from '../../kit/tar-header.ts'
import type { TarEntry } from './tar-entries.ts'
import { encodeZip } from './zip-encoder.ts'

/** Small entries are joined up to this, so that thousands of them are few writes. */
const CHUNK_BYTES = 128 * 1024

/** Entries as an archive. Constant memory for tar and tar.gz; zip holds one file at a time. */
export function encodeArchive(
  entries: AsyncIterable<TarEntry>,
  format: 'tar' | 'tar.gz' | 'zip',
): AsyncIterable<Uint8Array> {
  if (format === 'zip') return encodeZip(entries)
  if (format === 'tar') return encodeTar(entries)
  const gzip = createGzip()
  // A failure of the source destroys gzip with it, so that whoever reads gzip gets the failure.
  pipeline(Readable.from(encodeTar(entries), { objectMode: false }), gzip, () => {})
  return gzip
}

async function* encodeTar(entries: AsyncIterable<TarEntry>): AsyncGenerator<Uint8Array, void, undefined> {
  let waiting: Uint8Array[] = []
  let length = 0
  const add = (bytes: Uint8Array): void => {
    waiting.push(bytes)
    length += bytes.byteLength
  }
  const take = (): Uint8Array => {
    const all = Buffer.concat(waiting, length)
    waiting = []
    length = 0
    return all
  }
  for await (const { body, header } of entries) {
    add(encodeTarHeader(header))
    if (header.type === '0') {
      for await (const chunk of body) {
        // The reader's bytes are good until its next call only.
        add(Buffer.from(chunk))
        if (length >= CHUNK_BYTES) yield take()
      }
      add(Buffer.alloc(paddingAfter(header.sizeBytes)))
    }
    if (length >= CHUNK_BYTES) yield take()
  }
  add(Buffer.alloc(2 * TAR_BLOCK_BYTES))
  yield take()
}
