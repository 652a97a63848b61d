import { describe, expect, test } from 'vitest'
import {
  parseCount,
  parseCpus,
  parseEnv,
  parseLabel,
  parseMount,
  parsePorts,
  parseSecret,
  parseSignal,
} from './parse-values.ts'

const source = { env: { OWN: 'own value', EMPTY: '' }, cwd: '/here' }

describe('variables', () => {
  test.each([
    ['A=1', ['A', '1']],
    ['A=', ['A', '']],
    ['A=b=c', ['A', 'b=c']],
    ['A=-x\n$(id)', ['A', '-x\n$(id)']],
    ['OWN', ['OWN', 'own value']],
    ['EMPTY', ['EMPTY', '']],
  ])('--env %j', (text, expected) => {
    expect(parseEnv(text, source)).toEqual(expected)
  })

  test('a name that is not set is refused, as is a missing name', () => {
    expect(() => parseEnv('NOT_SET', source)).toThrow('"NOT_SET" is not set')
    expect(() => parseEnv('=v', source)).toThrow('name is missing')
  })

  test('a value given to --secret is refused and not repeated', () => {
    expect(parseSecret('OWN', source)).toEqual(['OWN', 'own value'])
    expect(() => parseSecret('TOKEN=hunter2', source)).toThrow('takes a name only')
    try {
      parseSecret('TOKEN=hunter2', source)
    } catch (error) {
      expect(JSON.stringify(error) + String(error)).not.toContain('hunter2')
    }
    expect(() => parseSecret('NOT_SET', source)).toThrow('"NOT_SET" is not set')
    expect(() => parseSecret('', source)).toThrow('is not set')
  })
})

describe('mounts', () => {
  test.each([
    ['/a:/b', { source: '/a', target: '/b', writable: false }],
    ['./a:/b:rw', { source: '/here/a', target: '/b', writable: true }],
    ['a b:/b:ro', { source: '/here/a b', target: '/b', writable: false }],
  ])('%j', (text, expected) => {
    expect(parseMount(text, source)).toEqual(expected)
  })

  test.each(['', 'a', ':', 'a:', ':/b', 'a:/b:', 'a:/b:rx', 'a:/b:rw:ro', 'a:b'])('%j is refused', (text) => {
    expect(() => parseMount(text, source)).toThrow(JSON.stringify(text))
  })
})

describe('ports', () => {
  test.each([
    ['8080:80', { localPort: 8080, remotePort: 80 }],
    ['80', { localPort: 80, remotePort: 80 }],
    ['0:80', { localPort: 0, remotePort: 80 }],
  ])('%j', (text, expected) => {
    expect(parsePorts(text)).toEqual(expected)
  })

  test.each([
    '',
    '0',
    '80:0',
    '65536',
    '1:65536',
    '65536:1',
    '-1:80',
    '80:',
    ':80',
    '1:2:3',
    'http',
    '8080:80/tcp',
    '127.0.0.1:80:80',
  ])('%j is refused', (text) => {
    expect(() => parsePorts(text)).toThrow(JSON.stringify(text))
  })
})

test.each(['0', '-1', 'x', '', '1e3', 'Infinity', '0.0'])('%j CPUs are refused', (text) => {
  expect(() => parseCpus(text)).toThrow(JSON.stringify(text))
})

test.each(['0', '-1', '1.5', '', 'many'])('the count %j is refused', (text) => {
  expect(() => parseCount(text)).toThrow(JSON.stringify(text))
})

test('CPUs, counts, labels and signals', () => {
  expect([parseCpus('0.5'), parseCpus('2'), parseCpus('.25'), parseCount('256')]).toEqual([0.5, 2, 0.25, 256])
  expect([parseLabel('a=b=c'), parseLabel('a')]).toEqual([
    ['a', 'b=c'],
    ['a', ''],
  ])
  expect(['TERM', 'sigterm', 'SIGUSR1', 'int'].map(parseSignal)).toEqual(['SIGTERM', 'SIGTERM', 'SIGUSR1', 'SIGINT'])
  for (const wrong of ['9', '', '-TERM', 'SIG', 'A B']) expect(() => parseSignal(wrong)).toThrow("not a signal's name")
})
