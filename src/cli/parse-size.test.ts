import { describe, expect, test } from 'vitest'
import { formatBytes, parseSizeMiB } from './parse-size.ts'
import { ValueFault } from './value-fault.ts'

describe('parseSizeMiB', () => {
  test.each([
    ['512MiB', 512],
    ['512mib', 512],
    ['2GiB', 2048],
    ['2G', 2048],
    ['1.5GiB', 1536],
    ['1TiB', 1_048_576],
    ['64 MiB', 64],
  ])('%j is %i MiB', (text, expected) => {
    expect(parseSizeMiB(text)).toBe(expected)
  })

  test.each([
    ['512', '512MiB'],
    ['2GB', '2GiB'],
    ['100mb', '100MiB'],
    ['-1GiB', '512MiB or 2GiB'],
    ['0MiB', '512MiB or 2GiB'],
    ['0.3MiB', '512MiB or 2GiB'],
    ['5KiB', '512MiB or 2GiB'],
    ['lots', '512MiB or 2GiB'],
    ['', '512MiB or 2GiB'],
  ])('%j is refused with the example %j', (text, example) => {
    let fault: unknown
    try {
      parseSizeMiB(text)
    } catch (error) {
      fault = error
    }
    expect(fault).toBeInstanceOf(ValueFault)
    expect((fault as ValueFault).example).toBe(example)
    expect((fault as ValueFault).message).toContain(JSON.stringify(text))
  })
})

test('bytes for people', () => {
  expect([0, 1023, 1024, 1_572_864, 3 * 1024 ** 3].map(formatBytes)).toEqual([
    '0 B',
    '1023 B',
    '1.0 KiB',
    '1.5 MiB',
    '3.0 GiB',
  ])
})
