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
      poolUp: (options) => note('poolUp', withoutCallbacks(options)),
      poolDown: (options) => note('poolDown', withoutCallbacks(options)),
      poolsStanding: () => note('poolsStanding', {}),
      poolProfiles: (options) => note('poolProfiles', { ...options, env: undefined }),
      withStandingPool: (options) => note('withStandingPool', options),
      isNode: async (name) => name === 'gpu-box',
      syncUp: (local, place, options) => note('syncUp', [local, place, withoutCallbacks(options)]),
      syncDown: (place, local, options) => note('syncDown', [place, local, withoutCallbacks(options)]),
      probe: (options) => note('probe', withoutCallbacks(options)),
      // oxlint-disable-next-line require-yield -- it fails before its first item
      list: async function* (options) {
        await note('list', withoutCallbacks(options))
      },
      generateKey: (name, options) => note('generateKey', [name, options]),
      addKey: (name, options) => note('addKey', [name, options]),
      listKeys: () => note('listKeys', []),
      getKey: (name) => note('getKey', [name]),
      removeKey: (name) => note('removeKey', [name]),
      copyKey: (name, host, options) => note('copyKey', [name, host, withoutCallbacks(options)]),
      trustHost: (host, options) => {
        const { confirm, ...rest } = { confirm: undefined, ...options }
        return note('trustHost', [host, { ...withoutCallbacks(rest), confirms: confirm !== undefined }])
      },
      listHosts: () => note('listHosts', []),
      untrustHost: (host, options) => note('untrustHost', [host, withoutCallbacks(options)]),
      addNode: (name, config, options) => note('addNode', [name, config, options]),
      listNodes: () => note('listNodes', []),
      getNode: (name) => note('getNode', [name]),
      setDefaultNode: (name) => note('setDefaultNode', [name]),
      removeNode: (name) => note('removeNode', [name]),
      testNode: (name, options) => note('testNode', [name, withoutCallbacks(options)]),
    },
  }
}

function withoutCallbacks(options: object | undefined): object {
  const {
    signal,
    onProgress: _,
    onStep: __,
    ...rest
  } = {
    signal: undefined,
    onProgress: undefined,
    onStep: undefined,
    ...options,
  }
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

describe('what nodes, keys and hosts ask the library for', () => {
  test.each<[line: string, call: unknown]>([
    ['keys generate work', ['generateKey', ['work', {}]]],
    ['keys generate work --type rsa --comment me', ['generateKey', ['work', { type: 'rsa', comment: 'me' }]]],
    ['keys list', ['listKeys', []]],
    ['keys show work', ['getKey', ['work']]],
    ['keys rm work', ['removeKey', ['work']]],
    ['keys copy-id work box', ['copyKey', ['work', 'box', {}]]],
    [
      'keys copy-id work box --with old --password-env TOKEN',
      ['copyKey', ['work', 'box', { with: 'old', password: 'hunter2' }]],
    ],
    ['keys copy-id work box --identity id', ['copyKey', ['work', 'box', { identityFile: '/here/id' }]]],
    ['hosts trust box', ['trustHost', ['box', { confirms: false }]]],
    ['hosts trust box -y', ['trustHost', ['box', { confirms: true }]]],
    ['hosts trust box --fingerprint SHA256:x', ['trustHost', ['box', { fingerprint: 'SHA256:x', confirms: false }]]],
    ['hosts list', ['listHosts', []]],
    ['hosts rm box', ['untrustHost', ['box', {}]]],
    ['nodes add lab', ['addNode', ['lab', { type: 'local', workspace: '/here' }, { isDefault: false }]]],
    [
      'nodes add lab --engine docker --workspace w',
      ['addNode', ['lab', { type: 'local', engine: 'docker', workspace: '/here/w' }, { isDefault: false }]],
    ],
    [
      'nodes add boxed --slot-seccomp s.json --slot-apparmor unconfined',
      [
        'addNode',
        [
          'boxed',
          {
            type: 'local',
            slotSeccompProfile: '/here/s.json',
            slotAppArmorProfile: 'unconfined',
            workspace: '/here',
          },
          { isDefault: false },
        ],
      ],
    ],
    ['nodes add box --host h --default', ['addNode', ['box', { type: 'ssh', host: 'h' }, { isDefault: true }]]],
    [
      'nodes add box --host h --port 2222 --user ann --key k -i id -J a,b -J c --workspace ~/w --engine direct --accept-new-host-key --ssh-config c --connect-timeout 5s --idle-close 1m',
      [
        'addNode',
        [
          'box',
          {
            type: 'ssh',
            host: 'h',
            port: 2222,
            username: 'ann',
            key: 'k',
            identityFile: '/here/id',
            jumpHosts: ['a', 'b', 'c'],
            workspace: '~/w',
            engine: 'direct',
            acceptNewHostKey: true,
            configFile: '/here/c',
            connectTimeoutMs: 5000,
            idleCloseMs: 60_000,
          },
          { isDefault: false },
        ],
      ],
    ],
    ['nodes list', ['listNodes', []]],
    ['nodes show box', ['getNode', ['box']]],
    ['nodes test box', ['testNode', ['box', {}]]],
    ['nodes default box', ['setDefaultNode', ['box']]],
    ['nodes rm box', ['removeNode', ['box']]],
  ])('%s', async (line, call) => {
    expect(await requested(line.split(' '))).toEqual(call)
  })
})

describe('sync', () => {
  const plain = { exclude: [], delete: false, dryRun: false }

  test('what the library is asked for', async () => {
    expect(await requested(['sync', 'up', 'x', 'work:project'])).toEqual([
      'syncUp',
      ['/here/x', { sandbox: 'work', path: 'project' }, plain],
    ])
    const line = 'sync down ./out gpu-box:/srv/x --include *.py --include lib/ --exclude .git --delete -n'
    expect(await requested(line.split(' '))).toEqual([
      'syncDown',
      [
        { on: 'gpu-box', path: '/srv/x' },
        '/here/out',
        { include: ['*.py', 'lib/'], exclude: ['.git'], delete: true, dryRun: true },
      ],
    ])
  })

  test('with --on the name is a sandbox; down also in the order of a copy; no path is the directory itself', async () => {
    expect(await requested(['sync', 'down', 'gpu-box:', '.', '--on', 'local'])).toEqual([
      'syncDown',
      [{ sandbox: 'gpu-box', path: '.', on: 'local' }, '/here', plain],
    ])
  })

  test('a wrong direction and a side without a name are usage errors', async () => {
    for (const words of [
      ['sync', 'sideways', '.', 'a:b'],
      ['sync', 'up', '.', 'b'],
      ['sync', 'up', 'a:b', '.'],
    ]) {
      const call = await callCli(words, { api: recorder().api })
      expect([call.code, call.err]).toEqual([125, expect.stringContaining('invalid-argument')])
    }
  })
})
