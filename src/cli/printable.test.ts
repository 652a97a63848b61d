import { expect, test } from 'vitest'
import { printable, printableLine } from './printable.ts'
import { fields, table } from './table.ts'

test('what a sandbox says cannot steer the terminal', () => {
  expect(printable('a\u001B[31mred\u0007\r\nb\tc')).toBe('a\\x1b[31mred\\x07\\x0d\nb\tc')
  expect(printable('\u009B2J \u202Egnp')).toBe('\\x9b2J \\u202egnp')
  expect(printable('\uDCFF')).toBe('\\udcff')
  expect(printable('ü 漢 😀')).toBe('ü 漢 😀')
  expect(printableLine('one\ntwo\u001B]0;t\u0007')).toBe('one\\ntwo\\x1b]0;t\\x07')
})

test('a cell is one line, also when its text is hostile', () => {
  expect(table(['A', 'B'], [['x\ny\u001B[2J', 'z']])).toBe('A            B\nx\\ny\\x1b[2J  z\n')
  expect(
    fields([
      ['name', 'a\nb'],
      ['n', 'c'],
    ]),
  ).toBe('name  a\\nb\nn     c\n')
})
