import { isUtf8 } from 'node:buffer'
import { utf8Lossy } from '../kit/text-bytes.ts'

/**
 * Bytes as fields of a JSON object: `{ stdout: text }`, and for bytes that are not UTF-8 also `{ stdoutBase64 }`, which
 * is exact while the text has U+FFFD for what is broken.
 */
export function bytesField(name: string, bytes: Uint8Array): Record<string, string> {
  const text = utf8Lossy(bytes)
  if (isUtf8(bytes)) return { [name]: text }
  return { [name]: text, [`${name}Base64`]: Buffer.from(bytes).toString('base64') }
}

/** Cuts a stream of bytes so that no piece ends inside a UTF-8 character; what is broken passes through as it is. */
export class CharacterBoundary {
  #held: Uint8Array = new Uint8Array(0)

  /** The bytes that are complete by now; the beginning of a character is kept for the next call. */
  push(bytes: Uint8Array): Uint8Array {
    const all = this.#held.length === 0 ? bytes : Buffer.concat([this.#held, bytes])
    const open = openSequenceLength(all)
    this.#held = all.slice(all.length - open)
    return all.subarray(0, all.length - open)
  }

  /** What is left at the end. */
  end(): Uint8Array {
    const rest = this.#held
    this.#held = new Uint8Array(0)
    return rest
  }
}

/** Length of an unfinished character at the end, 0 to 3. */
function openSequenceLength(bytes: Uint8Array): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back] ?? 0
    if ((byte & 0xc0) === 0x80) continue
    const needed = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1
    return needed > back ? back : 0
  }
  return 0
}
