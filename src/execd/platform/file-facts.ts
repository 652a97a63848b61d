import type { FileInfo } from '../../spec/index.ts'
import { AnyplaceError } from '../../spec/index.ts'
import { bytesToText } from '../../kit/text-bytes.ts'

const TYPES: Readonly<Record<number, FileInfo['type']>> = { 0o10: 'file', 0o04: 'directory', 0o12: 'symlink' }
const MAX_TOKEN_BYTES = 4 * 1024 * 1024

/** Reads what the script DESCRIBE prints: facts of a batch, then names and targets, all ended by NUL. */
export async function* describedFiles(
  source: AsyncIterable<Uint8Array>,
): AsyncGenerator<FileInfo, { readonly rest: string }, undefined> {
  let held: Buffer = Buffer.alloc(0)
  let facts: string[] = []
  let at = 0
  let name: string | undefined
  for await (const chunk of source) {
    let bytes = held.length === 0 ? Buffer.from(chunk) : Buffer.concat([held, chunk])
    for (let end = bytes.indexOf(0); end >= 0; end = bytes.indexOf(0)) {
      const token = bytesToText(bytes.subarray(0, end))
      bytes = bytes.subarray(end + 1)
      if (at === facts.length) {
        facts = token === '' ? [] : token.split('\n')
        at = 0
      } else if (name === undefined) {
        name = token
      } else {
        yield toInfo(name, facts[at] ?? '', token)
        name = undefined
        at++
      }
    }
    if (bytes.length > MAX_TOKEN_BYTES) throw broken()
    held = bytes
  }
  if (at !== facts.length || name !== undefined) throw broken()
  return { rest: held.toString('latin1') }
}

/** From `%f %s %u %g %Y %y` of stat: raw mode in hex, size, owner, group, seconds, a date with the fraction. */
function toInfo(path: string, facts: string, target: string): FileInfo {
  const match = /^([0-9a-f]+) (\d+) (\d+) (\d+) (-?\d+) (?:[^.]*\.(\d+))?/.exec(facts)
  if (match === null) throw broken()
  const [, mode = '', size, uid, gid, seconds, fraction = ''] = match
  const bits = Number.parseInt(mode, 16)
  const type = TYPES[bits >> 12] ?? 'other'
  return {
    path,
    type,
    sizeBytes: Number(size),
    mode: bits & 0o7777,
    modifiedAt: new Date(Number(seconds) * 1000 + Math.floor(Number(`0.${fraction || '0'}`) * 1000)),
    uid: Number(uid),
    gid: Number(gid),
    ...(type === 'symlink' ? { target } : {}),
  }
}

function broken(): AnyplaceError {
  return new AnyplaceError('protocol-error', "The place's stat said what cannot be read.", {
    hint: 'it must know `stat -c`, as coreutils and busybox do',
  })
}
