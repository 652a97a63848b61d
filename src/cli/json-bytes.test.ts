import fc from 'fast-check'
import { expect, test } from 'vitest'
import { bytesField, CharacterBoundary } from './json-bytes.ts'

test('bytes come back exactly, as text where they are UTF-8', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      const fields = JSON.parse(JSON.stringify(bytesField('stdout', bytes))) as Record<string, string>
      const back =
        fields['stdoutBase64'] === undefined
          ? Buffer.from(fields['stdout'] ?? '', 'utf8')
          : Buffer.from(fields['stdoutBase64'], 'base64')
      expect([...back]).toEqual([...bytes])
    }),
  )
  expect(bytesField('data', Buffer.from('ü\0'))).toEqual({ data: 'ü\0' })
  expect(bytesField('data', Uint8Array.of(0x61, 0xff))).toEqual({ data: 'a\uFFFD', dataBase64: 'Yf8=' })
})

test('text that is cut anywhere stays text, and no byte is lost', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 30 }), fc.array(fc.nat({ max: 5 })), (text, cuts) => {
      const bytes = Buffer.from(text, 'utf8')
      const boundary = new CharacterBoundary()
      const pieces: Uint8Array[] = []
      let at = 0
      for (const cut of [...cuts, bytes.length]) {
        pieces.push(Buffer.from(boundary.push(bytes.subarray(at, at + cut))))
        at = Math.min(bytes.length, at + cut)
      }
      pieces.push(boundary.end())
      expect(Buffer.concat(pieces)).toEqual(bytes)
      for (const piece of pieces) expect(bytesField('data', piece)).not.toHaveProperty('dataBase64')
    }),
  )
})

test('bytes that are no text pass through a boundary unchanged', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 9 })), (pieces) => {
      const boundary = new CharacterBoundary()
      const out = [...pieces.map((piece) => Buffer.from(boundary.push(piece))), Buffer.from(boundary.end())]
      expect(Buffer.concat(out)).toEqual(Buffer.concat(pieces))
    }),
  )
})
