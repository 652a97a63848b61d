import { execFileSync } from 'node:child_process'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { AnyplaceError } from '../spec/index.ts'
import { quoteArgv, quoteShell } from './quote.ts'

const SPECIAL = fc.constantFrom(
  '',
  ' ',
  "'",
  '"',
  '\\',
  '\n',
  '$(id)',
  '`id`',
  '~',
  '-n',
  '--',
  '*',
  '!',
  '#',
  'é',
  '\u{1F600}',
  'if',
  'A=b',
  '%1',
)
const word = fc
  .array(fc.oneof(SPECIAL, fc.string({ unit: 'binary', maxLength: 6 })), { maxLength: 4 })
  .map((parts) => parts.join('').replaceAll('\0', ''))

describe('quoteShell', () => {
  test('a shell reads back exactly the words', () => {
    fc.assert(
      fc.property(fc.array(word, { minLength: 1, maxLength: 40 }), (words) => {
        const script = `printf '%s\\0' ${words.map(quoteShell).join(' ')}`
        const output = execFileSync('/bin/sh', ['-c', script], { encoding: 'utf8' })
        expect(output.split('\0').slice(0, -1)).toEqual(words)
      }),
      { numRuns: 30 },
    )
  })

  test('a word that is a shell word of its own is a program name', () => {
    for (const name of ['if', 'while', 'A=b', '~', '{', '!', '']) {
      const script = `${quoteArgv([name, 'x'])} 2>/dev/null; echo $?`
      // 127: the shell looked for a program of that name.
      expect(execFileSync('/bin/sh', ['-c', script], { encoding: 'utf8' })).toBe('127\n')
    }
  })

  test('plain words stay readable', () => {
    expect(quoteArgv(['python3', '-c', 'print(6 * 7)', '/a-b/c_d.py', "it's"])).toBe(
      `python3 -c 'print(6 * 7)' /a-b/c_d.py 'it'\\''s'`,
    )
  })

  test('NUL is refused', () => {
    expect(() => quoteShell('a\0b')).toThrow(expect.objectContaining({ code: 'invalid-argument' }))
    expect(() => quoteShell('a\0b')).toThrow(AnyplaceError)
  })
})
