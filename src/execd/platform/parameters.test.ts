import { execFileSync } from 'node:child_process'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AnyplaceError } from '../../spec/index.ts'
import { bytesToText } from '../../kit/text-bytes.ts'
import { DECODE_PARAMETERS, encodeParameters } from './parameters.ts'

const SHELL = `${DECODE_PARAMETERS}\nprintf '%s\\000' "$@"`

/** What a shell makes of the parameters, as raw bytes. */
function decoded(words: readonly string[]): Buffer {
  return execFileSync('/bin/sh', ['-c', SHELL, 'anyplace', ...encodeParameters(words)], { env: { LC_ALL: 'C' } })
}

const anyBytes = fc
  .uint8Array({ maxLength: 40 })
  .map((bytes) => bytesToText(bytes.map((byte) => (byte === 0 ? 10 : byte))))

describe('encodeParameters', () => {
  it('arrives byte for byte through a shell, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.array(anyBytes, { minLength: 1, maxLength: 5 }), (words) => {
        const wanted = Buffer.concat(words.flatMap((word) => [bytesOf(word), Buffer.of(0)]))
        expect(decoded(words)).toEqual(wanted)
      }),
      { numRuns: 60 },
    )
  })

  it('keeps line feeds at the end, empty words and words that begin with a dash', () => {
    const words = ['\udc80\n\n', '', '-n', '\\0101', '%s', '$(id)']
    expect(decoded(words).toString('latin1')).toBe('\u0080\n\n\0\0-n\0\\0101\0%s\0$(id)\0')
  })

  it('sends plain words as they are', () => {
    expect(encodeParameters(['é', "a'b"])).toEqual(['raw', 'é', "a'b"])
  })

  it('refuses NUL', () => {
    expect(() => encodeParameters(['a\0b'])).toThrow(AnyplaceError)
  })
})

function bytesOf(text: string): Buffer {
  return Buffer.concat(
    Array.from(text, (character) => {
      const code = character.charCodeAt(0)
      return character.length === 1 && code >= 0xdc80 && code <= 0xdcff
        ? Buffer.of(code - 0xdc00)
        : Buffer.from(character)
    }),
  )
}
