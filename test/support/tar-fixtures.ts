import { lstatSync, readFileSync, readdirSync, readlinkSync } from 'node:fs'
import { pack as foreignPack } from 'tar-stream'
import type { Header } from 'tar-stream'
import { packTree } from '../../src/kit/tar.ts'

/** A tree as one archive in memory. */
export async function packed(path: string, options: Parameters<typeof packTree>[1] = {}): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of packTree(path, options).chunks) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** Bytes as a source that hands them out in pieces. */
export async function* inChunks(bytes: Uint8Array, size = 1000): AsyncGenerator<Uint8Array> {
  for (let offset = 0; offset < bytes.length; offset += size) yield bytes.subarray(offset, offset + size)
}

/** An archive by another implementation, of entries that no honest packer makes. */
export async function foreign(entries: readonly [Partial<Header>, string?][]): Promise<Buffer> {
  const pack = foreignPack()
  for (const [header, body] of entries) pack.entry(header as Header, body ?? '')
  pack.finalize()
  const chunks: Uint8Array[] = []
  for await (const chunk of pack) chunks.push(chunk as Uint8Array)
  return Buffer.concat(chunks)
}

/** Every path below a root with type, mode, bytes or target, and (for files and directories) time. */
export function snapshot(root: string, prefix = ''): Record<string, unknown> {
  const seen: Record<string, unknown> = {}
  const below = (path: string): Buffer => Buffer.from(`${Buffer.from(root).toString('latin1')}/${path}`, 'latin1')
  for (const name of readdirSync(below(prefix), { encoding: 'latin1' }).sort()) {
    const path = prefix + name
    const stats = lstatSync(below(path))
    const facts = [stats.mode.toString(8), Math.floor(stats.mtimeMs / 1000)]
    if (stats.isDirectory()) {
      seen[path] = facts
      Object.assign(seen, snapshot(root, `${path}/`))
    } else if (stats.isSymbolicLink()) seen[path] = readlinkSync(below(path), 'latin1')
    else seen[path] = [...facts, readFileSync(below(path), 'latin1')]
  }
  return seen
}
