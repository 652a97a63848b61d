import { describe, expect, test } from 'vitest'
import { AnyplaceError } from '../spec/index.ts'
import { checkOptions, lifetimeOf } from './check-options.ts'
import { suggest } from './suggest.ts'

function failure(options: object): AnyplaceError {
  try {
    checkOptions(options)
  } catch (error) {
    if (AnyplaceError.is(error)) return error
    throw error
  }
  throw new Error(`${JSON.stringify(options)} was accepted`)
}

describe('checkOptions', () => {
  test('accepts what is documented', () => {
    checkOptions({})
    checkOptions({
      image: 'registry.example.com:5000/team/app:1.2@sha256:' + 'a'.repeat(64),
      cpu: 0.25,
      memoryMiB: 256,
      cpuLimit: 1,
      memoryLimitMiB: 512,
      pidsLimit: 10,
      gpu: { type: 'A100 80GB', count: 2 },
      env: { A: '', 'odd name': 'x' },
      mounts: [{ source: '/data', target: '/in', writable: true }],
      workspace: '/home/me/project',
      workdir: '/w',
      user: '1000:1000',
      network: false,
      name: 'a-1',
      detached: true,
      labels: { 'team/project': 'x' },
      secrets: { TOKEN: 'x' },
      timeoutMs: 1,
      maxLifetimeMs: 2,
      idleTimeoutMs: 1,
      signal: new AbortController().signal,
      onProgress: () => undefined,
    })
    checkOptions({ image: undefined, name: undefined })
  })

  test.each([
    [{ image: '' }, 'image'],
    [{ image: '-v/etc:/x' }, 'image'],
    [{ image: 'Python' }, 'lower case'],
    [{ image: 'a b' }, 'image'],
    [{ cpu: 0 }, 'cpu'],
    [{ cpu: Number.NaN }, 'NaN'],
    [{ memoryMiB: 1.5 }, '1.5'],
    [{ memoryMiB: '512' }, '"512"'],
    [{ timeoutMs: -1 }, '-1'],
    [{ timeoutMs: 5, maxLifetimeMs: 4 }, 'longer than maxLifetimeMs 4'],
    [{ memoryMiB: 5, memoryLimitMiB: 4 }, 'above memoryLimitMiB'],
    [{ name: '-x' }, '"-x"'],
    [{ name: 'A' }, 'name'],
    [{ name: 'a'.repeat(64) }, 'name'],
    [{ env: { 'A=B': 'x' } }, '"A=B"'],
    [{ env: { A: undefined } }, '"A" must be a string'],
    [{ env: { A: 'x\0' } }, 'NUL'],
    [{ env: { A: 'x' }, secrets: { A: 'y' } }, 'A is given in env and in secrets'],
    [{ mounts: [{ source: 'rel', target: '/x' }] }, '[0] source'],
    [{ mounts: [{ source: '/a', target: '/' }] }, 'root'],
    [{ mounts: [{ source: '/a', target: '/x/../y' }] }, '..'],
    [{ mounts: [{ source: '/a', target: '/x', readonly: true }] }, 'readonly'],
    [
      {
        mounts: [
          { source: '/a', target: '/x' },
          { source: '/b', target: '/x/' },
        ],
      },
      'twice',
    ],
    [{ workdir: 'w' }, 'workdir'],
    [{ workspace: '/a\0' }, 'workspace'],
    [{ user: '--privileged' }, 'user'],
    [{ user: 'a:b:c' }, 'user'],
    [{ network: 'none' }, 'network'],
    [{ labels: { 'anyplace.id': 'x' } }, 'reserved'],
    [{ labels: { '-x': 'x' } }, '"-x"'],
    [{ gpu: true }, 'gpu'],
    [{ gpu: { count: 0 } }, 'count'],
    [{ signal: {} }, 'AbortSignal'],
    [{ memory: 5 }, 'did you mean memoryMiB?'],
    [{ timeout: 5 }, 'did you mean timeoutMs?'],
    [{ zebra: 5 }, '"zebra" is not an option'],
  ])('refuses %j', (options, part) => {
    const error = failure(options)
    expect(error.code).toBe('invalid-argument')
    expect(error.message).toContain(part)
  })

  test('tells all faults at once', () => {
    const error = failure({ cpu: -1, name: 'NO', memory: 1 })
    expect(error.message).toMatch(/3 options are wrong: .*cpu.*name.*memory/)
    expect(error.field).toBe('cpu')
  })

  test('refuses what is not there yet as unsupported', () => {
    expect(failure({ volumes: { data: '/data' } }).code).toBe('unsupported')
    expect(failure({ secrets: ['HF_TOKEN'] }).code).toBe('unsupported')
  })

  test('shows no value of env or secrets', () => {
    const secret = 'hunter2-hunter2'
    for (const options of [{ secrets: { A: `${secret}\0` } }, { env: { A: `${secret}\0` } }, { secrets: secret }]) {
      expect(JSON.stringify(failure(options))).not.toContain(secret)
    }
  })
})

test('lifetimeOf: one hour, capped by a given maximum', () => {
  expect(lifetimeOf({})).toEqual({ timeoutMs: 3_600_000, maxLifetimeMs: 3_600_000 })
  expect(lifetimeOf({ maxLifetimeMs: 10 })).toEqual({ timeoutMs: 10, maxLifetimeMs: 10 })
  expect(lifetimeOf({ timeoutMs: 5, idleTimeoutMs: 1 })).toEqual({ timeoutMs: 5, maxLifetimeMs: 5, idleTimeoutMs: 1 })
})

test('suggest: near words only', () => {
  expect(suggest('imgae', ['image', 'user'])).toBe('image')
  expect(suggest('MEMORYMIB', ['memoryMiB'])).toBe('memoryMiB')
  expect(suggest('xyz', ['image', 'user'])).toBeUndefined()
})
