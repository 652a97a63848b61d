import { textToBytes } from './text-bytes.ts'

const LONE_SURROGATE = /\p{Surrogate}/u

/**
 * A path for node:fs. Text that stands for bytes that are not UTF-8 (see `textToBytes`) becomes a Buffer, because node:fs
 * would write U+FFFD for it.
 */
export function systemPath(path: string): string | Buffer {
  return LONE_SURROGATE.test(path) ? Buffer.from(textToBytes(path)) : path
}
