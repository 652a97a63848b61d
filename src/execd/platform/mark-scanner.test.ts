import fc from 'fast-check'
import { expect, it } from 'vitest'
import { MarkScanner } from './mark-scanner.ts'

const NONCE = '0123456789abcdef01234567'
const MARK = `\u0001anyplace ${NONCE} end 0 1\u0002`

function scan(chunks: readonly Uint8Array[]): { readonly bytes: Buffer; readonly marks: (readonly string[])[] } {
  const scanner = new MarkScanner(NONCE)
  const bytes: Uint8Array[] = []
  const marks: (readonly string[])[] = []
  for (const chunk of chunks) {
    for (const piece of scanner.push(chunk)) {
      if ('bytes' in piece) bytes.push(Uint8Array.from(piece.bytes))
      else marks.push(piece.mark)
    }
  }
  bytes.push(scanner.end())
  return { bytes: Buffer.concat(bytes), marks }
}

it('gives a mark and the bytes around it, wherever chunks break', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 60 }),
      fc.uint8Array({ maxLength: 60 }),
      fc.array(fc.nat({ max: 200 })),
      (before, after, cuts) => {
        const whole = Buffer.concat([before, Buffer.from(MARK), after])
        const borders = [
          0,
          ...cuts.map((cut) => cut % whole.length).sort((first, second) => first - second),
          whole.length,
        ]
        const chunks = borders.slice(1).map((border, index) => whole.subarray(borders[index], border))
        const { bytes, marks } = scan(chunks)
        expect(marks).toEqual([['end', '0', '1']])
        expect(bytes).toEqual(Buffer.concat([before, after]))
      },
    ),
  )
})

it('passes through what only resembles a mark', () => {
  const almost = [
    `\u0001anyplace ${NONCE}`,
    `\u0001anyplace 999 end\u0002`,
    `\u0001\u0001any`,
    `\u0001anyplace ${NONCE} ${'x'.repeat(900)}`,
  ]
  for (const text of almost)
    expect(scan([...Buffer.from(text)].map((byte) => Uint8Array.of(byte))).bytes.toString()).toBe(text)
})

it('finds a mark right behind the beginning of another', () => {
  const { bytes, marks } = scan([Buffer.from(`\u0001anyplace ${MARK}`)])
  expect(marks).toHaveLength(1)
  expect(bytes.toString()).toBe('\u0001anyplace ')
})
