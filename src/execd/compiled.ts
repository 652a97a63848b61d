import type { Readable } from 'node:stream'
import { protocolError } from './frames.ts'

const MOST_BYTES = 1024 * 1024
const MOST_KEPT = 16

/** By interpreter. Only ever run by that same interpreter, which could as well lie about what it runs. */
const kept = new Map<string, Uint8Array>()

/** The daemon's modules as this interpreter compiled them before; undefined when it has not yet. */
export function compiledFor(interpreter: string): Uint8Array | undefined {
  return kept.get(interpreter)
}

export function keepCompiled(interpreter: string, compiled: Uint8Array): void {
  kept.set(interpreter, compiled)
  const [oldest] = kept.keys()
  if (kept.size > MOST_KEPT && oldest !== undefined) kept.delete(oldest)
}

/**
 * Takes `<decimal length>\n<bytes>` off the front of a stream and leaves what follows in it; undefined when it ended before.
 *
 * @param hasMore waits until there is something to read; false at the end
 * @throws AnyplaceError `protocol-error` for anything else, and for more than 1 MiB
 */
export async function readCompiled(stream: Readable, hasMore: () => Promise<boolean>): Promise<Uint8Array | undefined> {
  let bytes = Buffer.alloc(0)
  while (await hasMore()) {
    bytes = Buffer.concat([bytes, stream.read() as Buffer])
    const start = bytes.indexOf('\n') + 1
    if (start === 0 && bytes.length < 9) continue
    const head = bytes.toString('latin1', 0, Math.min(start - 1, 9))
    const length = /^\d{1,7}$/.test(head) ? Number(head) : Infinity
    if (start === 0 || length > MOST_BYTES) {
      throw protocolError('The exec daemon did not begin with its compiled modules.')
    }
    if (bytes.length < start + length) continue
    if (bytes.length > start + length) stream.unshift(bytes.subarray(start + length))
    return Uint8Array.prototype.slice.call(bytes, start, start + length)
  }
  return undefined
}
