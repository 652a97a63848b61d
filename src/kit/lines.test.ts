import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { LineSplitter, splitLines } from './lines.ts'

async function* cut(bytes: Uint8Array, sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  let offset = 0
  for (let index = 0; offset < bytes.length; index++) {
    const size = sizes[index % sizes.length]!
    yield bytes.subarray(offset, offset + size)
    offset += size
  }
}

async function linesOf(bytes: Uint8Array, sizes: readonly number[]): Promise<string[]> {
  const lines: string[] = []
  for await (const line of splitLines(cut(bytes, sizes))) lines.push(line)
  return lines
}

const sizes = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 5 })

describe('splitLines', () => {
  test('the borders of the chunks do not matter', async () => {
    const text = fc.array(fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('\n', '\r\n', 'é', '\u{1F600}')))
    await fc.assert(
      fc.asyncProperty(text, sizes, async (parts, cuts) => {
        const whole = parts.join('')
        const expected = whole.split('\n')
        if (expected.at(-1) === '') expected.pop()
        expect(await linesOf(new TextEncoder().encode(whole), cuts)).toEqual(expected)
      }),
    )
  })

  test('broken UTF-8 is shown as such and loses no line', async () => {
    const bytes = Uint8Array.of(0x61, 0xff, 0x0a, 0xe2, 0x82, 0x0a, 0x62)
    for (const size of [1, 2, 3, 100]) expect(await linesOf(bytes, [size])).toEqual(['a\uFFFD', '\uFFFD', 'b'])
  })

  test('a line without end is cut between characters and memory stays bounded', () => {
    const splitter = new LineSplitter({ maxLineBytes: 10 })
    const bytes = new TextEncoder().encode('€'.repeat(100))
    const lines: string[] = []
    for (let offset = 0; offset < bytes.length; offset += 4)
      lines.push(...splitter.push(bytes.subarray(offset, offset + 4)))
    const last = splitter.end()
    expect(lines.length).toBeGreaterThan(20)
    expect(lines.join('') + (last ?? '')).toBe('€'.repeat(100))
    expect(splitter.end()).toBeUndefined()
  })
})
