import { describe, expect, test } from 'vitest'
import { AnyplaceError } from '../../src/spec/index.ts'
import type { CliApi } from '../../src/cli/api.ts'
import { callCli } from '../support/call-cli.ts'

/** A library that notes what it was asked for and then refuses, so that every call is over at once. */
function recorder(): { readonly api: CliApi; readonly calls: unknown[][] } {
  const calls: unknown[][] = []
  const note = (name: string, value: unknown) => {
    calls.push([name, value])
    return Promise.reject(new AnyplaceError('engine-unavailable', 'Nothing answers.', { hint: 'start it' }))
  }
  return {
    calls,
    api: {
      open: (options) => note('open', withoutCallbacks(options)),
      attach: (name, options) => note('attach', [name, withoutCallbacks(options)]),
      remove: (name, options) => note('remove', [name, withoutCallbacks(options)]),
      gc: (options) => note('gc', withoutCallbacks(options)),
      doctor: (options) => note('doctor', withoutCallbacks(options)),
      probe: (options) => note('probe', withoutCallbacks(options)),
      // oxlint-disable-next-line require-yield -- it fails before its first item
      list: async function* (options) {
        await note('list', withoutCallbacks(options))
      },
    },
  }
}

function withoutCallbacks(options: object | undefined): object {
  const { signal, onProgress: _, ...rest } = { signal: undefined, onProgress: undefined, ...options }
  expect(signal).toBeInstanceOf(AbortSignal)
  return rest
}

const env = { OWN: 'own value', TOKEN: 'hunter2' }

async function requested(words: readonly string[]): Promise<unknown> {
  const { api, calls } = recorder()
  const call = await callCli(words, { api, env })
  expect(call).toEqual({
    code: 125,
    out: '',
    err: 'anyplace: engine-unavailable: Nothing answers.\n  hint: start it\n',
  })
  expect(calls).toHaveLength(1)
  return calls[0]
}

describe('what the library is asked for', () => {
  test('an option that is not given is left to the library', async () => {
    expect(await requested(['open'])).toEqual(['open', { detached: true }])
  })

  test('every option of open', async () => {
    const line =
      'open -n work --on local/docker --image alpine:3 --cpu 0.5 --memory 1GiB --cpu-limit 2 --memory-limit 2GiB ' +
      '--pids-limit 99 -e A=1 -e B=x=y --env OWN --secret TOKEN --workspace . --mount ./d:/d --mount /e:/e:rw -w /srv ' +
      '-u 1000:1000 --network none --label a=b --label c --timeout 5m --max-lifetime 2h --idle-timeout 30s --json'
    const { api, calls } = recorder()
    const call = await callCli(line.split(' '), { api, env })
    expect(JSON.parse(call.out)).toEqual({
      source: 'anyplace',
      error: { code: 'engine-unavailable', message: 'Nothing answers.', hint: 'start it', retryable: true },
    })
    expect(call).toMatchObject({ code: 125, err: '' })
    expect(calls).toEqual([
      [
        'open',
        {
          detached: true,
          name: 'work',
          on: 'local/docker',
          image: 'alpine:3',
          cpu: 0.5,
          memoryMiB: 1024,
          cpuLimit: 2,
          memoryLimitMiB: 2048,
          pidsLimit: 99,
          env: { A: '1', B: 'x=y', OWN: 'own value' },
          secrets: { TOKEN: 'hunter2' },
          workspace: '/here',
          mounts: [
            { source: '/here/d', target: '/d', writable: false },
            { source: '/e', target: '/e', writable: true },
          ],
          workdir: '/srv',
          user: '1000:1000',
          network: false,
          labels: { a: 'b', c: '' },
          timeoutMs: 300_000,
          maxLifetimeMs: 7_200_000,
          idleTimeoutMs: 30_000,
        },
      ],
    ])
  })

  test('the sandbox of run outlives the deadline of its command a little', async () => {
    expect(await requested(['run', '--', 'ls'])).toEqual(['open', { timeoutMs: 3_660_000 }])
    expect(await requested(['run', '--timeout', '30s', '--', 'ls', '--timeout', '9h'])).toEqual([
      'open',
      { timeoutMs: 90_000 },
    ])
  })

  test.each<[readonly string[], unknown]>([
    [
      ['exec', 'box', '--', 'ls'],
      ['attach', ['box', {}]],
    ],
    [
      ['exec', '--on=local/podman', '--secret', 'TOKEN', 'box', '--', 'ls'],
      ['attach', ['box', { on: 'local/podman', secrets: { TOKEN: 'hunter2' } }]],
    ],
    [['ps'], ['list', {}]],
    [
      ['ps', 'box'],
      ['attach', ['box', {}]],
    ],
    [
      ['ps', '--', '-box'],
      ['attach', ['-box', {}]],
    ],
    [
      ['cp', 'a', 'box:b'],
      ['attach', ['box', {}]],
    ],
    [
      ['port', 'box', '80'],
      ['attach', ['box', {}]],
    ],
    [
      ['logs', '-f', 'box', 'p1'],
      ['attach', ['box', {}]],
    ],
    [
      ['attach', 'box', 'p1'],
      ['attach', ['box', {}]],
    ],
    [
      ['kill', 'box', 'p1'],
      ['attach', ['box', {}]],
    ],
    [
      ['stats', 'box'],
      ['attach', ['box', {}]],
    ],
    [
      ['extend', 'box', '1h'],
      ['attach', ['box', {}]],
    ],
    [
      ['rm', 'box', '--on', 'local'],
      ['remove', ['box', { on: 'local' }]],
    ],
    [['gc'], ['gc', { dryRun: false }]],
    [
      ['gc', '--dry-run'],
      ['gc', { dryRun: true }],
    ],
    [
      ['doctor', '--on', 'local/docker'],
      ['doctor', { on: 'local/docker' }],
    ],
  ])('%j', async (words, expected) => {
    expect(await requested(words)).toEqual(expected)
  })

  test('a value that begins with a dash', async () => {
    expect(await requested(['open', '--env=-A=-1', '--label', '-l=x'])).toEqual([
      'open',
      { detached: true, env: { '-A': '-1' }, labels: { '-l': 'x' } },
    ])
  })

  test('rm goes on after a failure and counts it', async () => {
    const removed: string[] = []
    const api: Partial<CliApi> = {
      remove: (name) => {
        removed.push(name)
        return name === 'bad' ? Promise.reject(new AnyplaceError('sandbox-not-found', 'No bad.')) : Promise.resolve()
      },
    }
    expect(await callCli(['rm', 'a', 'bad', 'b', 'a'], { api })).toEqual({
      code: 125,
      out: 'a\nb\n',
      err: 'anyplace: sandbox-not-found: No bad.\n',
    })
    expect(removed).toEqual(['a', 'bad', 'b'])
    const json = await callCli(['rm', '--json', 'a', 'bad'], { api })
    expect(JSON.parse(json.out)).toMatchObject({
      source: 'anyplace',
      removed: ['a'],
      failed: [{ sandbox: 'bad', code: 'sandbox-not-found' }],
    })
    expect(json.code).toBe(125)
  })
})

describe('failures', () => {
  test.each([
    ['command-not-found', 127],
    ['command-not-executable', 126],
    ['sandbox-gone', 125],
    ['internal', 125],
    ['timeout', 125],
    ['cancelled', 130],
  ] as const)('%s ends with %i', async (code, exitCode) => {
    const api: Partial<CliApi> = { doctor: () => Promise.reject(new AnyplaceError(code, 'It failed.')) }
    expect((await callCli(['doctor'], { api })).code).toBe(exitCode)
  })

  test('a fault of our own says so, with a stack trace only when asked', async () => {
    const api: Partial<CliApi> = { doctor: () => Promise.reject(new TypeError('x is not a function')) }
    const plain = await callCli(['doctor'], { api })
    expect(plain).toMatchObject({ code: 125, out: '' })
    expect(plain.err).toMatch(/^anyplace: internal: x is not a function\n {2}hint: this is a fault in anyplace/)
    expect((await callCli(['doctor'], { api, env: { ANYPLACE_DEBUG: '1' } })).err).toContain('cli-requests.test.ts')
  })

  test('cancelled before it began: nothing is called, nothing is said, the code is 130', async () => {
    const { api, calls } = recorder()
    const signal = AbortSignal.abort(new AnyplaceError('cancelled', 'Cancelled by SIGINT.'))
    expect(await callCli(['open'], { api, signal })).toEqual({ code: 130, out: '', err: '' })
    const json = await callCli(['open', '--json'], { api, signal })
    expect(JSON.parse(json.out)).toMatchObject({ source: 'anyplace', error: { code: 'cancelled' } })
    expect(json.code).toBe(130)
    expect(calls).toEqual([])
  })
})

describe('probe', () => {
  test('what the library is asked for', async () => {
    expect(await requested(['probe'])).toEqual(['probe', {}])
    expect(await requested(['probe', '--on', 'local', '--workspace', '~/w', '--timeout', '5s'])).toEqual([
      'probe',
      { on: 'local', workspace: '~/w', timeoutMs: 5000 },
    ])
  })
})
