import { execFileSync } from 'node:child_process'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { assertNoNul, bytesToText, textToBytes, utf8Lossy } from './text-bytes.ts'

/** Bytes that are often nearly UTF-8: pieces of characters cut short, overlong forms, encoded surrogates. */
const nearlyUtf8 = fc
  .array(
    fc.oneof(
      fc.uint8Array({ maxLength: 4 }),
      fc.string({ unit: 'binary', maxLength: 4 }).map((text) => new TextEncoder().encode(text)),
      fc
        .constantFrom(
          [0xc0, 0x80],
          [0xed, 0xa0, 0x80],
          [0xf0, 0x9f, 0x98],
          [0xe2, 0x82],
          [0xf4, 0x90, 0x80, 0x80],
          [0xef, 0xbb, 0xbf],
        )
        .map((bytes) => Uint8Array.from(bytes)),
    ),
    { maxLength: 12 },
  )
  .map((parts) => new Uint8Array(Buffer.concat(parts)))

describe('text and bytes', () => {
  test('any bytes come back', () => {
    fc.assert(
      fc.property(nearlyUtf8, (bytes) => {
        expect([...textToBytes(bytesToText(bytes))]).toEqual([...bytes])
      }),
      { numRuns: 2000 },
    )
  })

  test('proper text is UTF-8 and comes back', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(Buffer.from(textToBytes(text)).equals(Buffer.from(text, 'utf8'))).toBe(true)
        expect(bytesToText(textToBytes(text))).toBe(text)
      }),
    )
  })

  test('Python reads the same text from the same bytes', () => {
    const samples = fc.sample(nearlyUtf8, 300)
    const script =
      'import sys, json\n' +
      'for line in sys.stdin: print(json.dumps(bytes.fromhex(line.strip()).decode("utf-8", "surrogateescape")))'
    const input = samples.map((bytes) => `${Buffer.from(bytes).toString('hex')}\n`).join('')
    const output = execFileSync('python3', ['-S', '-E', '-c', script], { input, encoding: 'utf8' })
    const theirs = output
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as string)
    expect(samples.map(bytesToText)).toEqual(theirs)
  })

  test('a byte order mark is part of the text', () => {
    const bytes = Uint8Array.of(0xef, 0xbb, 0xbf, 0x61)
    expect(bytesToText(bytes)).toBe('\uFEFFa')
    expect(utf8Lossy(bytes)).toBe('\uFEFFa')
    expect(utf8Lossy(Uint8Array.of(0x61, 0xff))).toBe('a\uFFFD')
  })

  test('a surrogate that stands for no byte is refused', () => {
    for (const text of ['\uD800', 'a\uDC7F', '\uDD00b', '\uDBFFx']) {
      expect(() => textToBytes(text)).toThrow(expect.objectContaining({ code: 'invalid-argument' }))
    }
    expect([...textToBytes('a\uDCFF\u{10080}')]).toEqual([0x61, 0xff, 0xf0, 0x90, 0x82, 0x80])
  })

  test('assertNoNul names the field and hides the value', () => {
    assertNoNul('fine', 'path')
    expect(() => assertNoNul('pass\0word', 'env.TOKEN')).toThrow('env.TOKEN holds a NUL character at position 4.')
    expect(() => assertNoNul('pass\0word', 'env.TOKEN')).toThrow(expect.objectContaining({ field: 'env.TOKEN' }))
  })
})
