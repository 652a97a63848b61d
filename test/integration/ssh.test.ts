import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import process from 'node:process'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { SandboxRecord } from '../../src/engines/sandbox-directory/record.ts'
import { parsePrivateKey } from '../../src/providers/ssh/private-key.ts'
import { closeHostLinks, sshProvider } from '../../src/providers/ssh/index.ts'
import type { SshTarget } from '../../src/providers/ssh/index.ts'
import { openSandbox } from '../../src/sandboxes/open-sandbox.ts'
import type { Sandbox } from '../../src/sandboxes/sandbox.ts'
import { until } from '../support/engine-place.ts'
import { labFile, labPort, labTarget, sshLabProblem, stateWithPins } from '../support/ssh-lab.ts'
import { controlPath, endMaster, masterPid, serverPid } from '../support/ssh-servers.ts'

const problem = sshLabProblem()
const expected = (process.env['ANYPLACE_EXPECT'] ?? '').split(',').some((name) => name.startsWith('ssh-'))
if (problem !== undefined && expected) throw new Error(`ANYPLACE_EXPECT names ssh targets, but ${problem}`)

describe.skipIf(problem !== undefined)('ssh', () => {
  let state: ReturnType<typeof stateWithPins>
  let workspace: string
  beforeAll(() => {
    state = stateWithPins()
    workspace = mkdtempSync('/tmp/anyplace-ssh-test-')
  })
  afterEach(() => {
    process.env['ANYPLACE_HOME'] = state.path
  })
  afterAll(async () => {
    await closeHostLinks()
    state.remove()
    rmSync(workspace, { recursive: true, force: true })
  })

  const at = (more: Partial<SshTarget> = {}, server: 'jump' | 'target' | 'odd' = 'jump'): SshTarget =>
    labTarget(server, { workspace, ...more })
  const openAt = (target: SshTarget): Promise<Sandbox> =>
    openSandbox({ provider: sshProvider(target), engine: 'direct' }, { timeoutMs: 120_000 })
  /** Pins of the test's own instead of the lab's. */
  function pin(...lines: readonly string[]): void {
    const home = mkdtempSync(join(state.path, 'home-'))
    process.env['ANYPLACE_HOME'] = home
    if (lines.length > 0) writeFileSync(join(home, 'known_hosts'), `${lines.join('\n')}\n`)
  }
  const hostKey = (server: string): string =>
    readFileSync(labFile(`${server}/host_key.pub`), 'utf8')
      .split(' ')
      .slice(0, 2)
      .join(' ')
  const address = (server: 'jump' | 'target'): string => `[127.0.0.1]:${labPort(server)}`

  describe('host keys', () => {
    test('an unknown one is refused, and nothing was sent', async () => {
      pin()
      await expect(openAt(at())).rejects.toMatchObject({
        code: 'permission-denied',
        data: { cause: 'host-key-unknown' },
        hint: expect.stringContaining('anyplace hosts trust') as string,
      })
    })

    test('a changed one is refused also where new ones are taken', async () => {
      for (const acceptNewHostKey of [false, true]) {
        pin(`${address('jump')} ${hostKey('target')}`)
        await expect(openAt(at({ acceptNewHostKey }))).rejects.toMatchObject({
          code: 'permission-denied',
          data: { cause: 'host-key-changed', fingerprint: expect.stringMatching(/^SHA256:/) as string },
        })
      }
    })

    test('a revoked one is refused although it is pinned too', async () => {
      pin(`${address('jump')} ${hostKey('jump')}`, `@revoked ${address('jump')} ${hostKey('jump')}`)
      await expect(openAt(at({ acceptNewHostKey: true }))).rejects.toMatchObject({
        data: { cause: 'host-key-revoked' },
      })
    })

    test('a new one is pinned in our own file where the target says so', async () => {
      pin()
      const box = await openAt(at({ acceptNewHostKey: true }))
      await box.close()
      const pinned = readFileSync(join(process.env['ANYPLACE_HOME'] ?? '', 'known_hosts'), 'utf8')
      expect(pinned).toContain(hostKey('jump'))
    })

    test('of a jump host: unknown and changed ones are refused as well', async () => {
      const target = at({ jumpHosts: [`root@127.0.0.1:${labPort('jump')}`] }, 'target')
      pin(`${address('target')} ${hostKey('target')}`)
      await expect(openAt(target)).rejects.toMatchObject({ data: { cause: 'host-key-unknown' } })
      pin(`${address('target')} ${hostKey('target')}`, `${address('jump')} ${hostKey('target')}`)
      await expect(openAt(target)).rejects.toMatchObject({ data: { cause: 'host-key-changed' } })
    })
  })

  test('through a jump host', async () => {
    const box = await openAt(at({ jumpHosts: [`root@127.0.0.1:${labPort('jump')}`] }, 'target'))
    const ports = (await box.run(['sh', '-c', 'echo ok'])).stdout
    expect(ports).toBe('ok\n')
    await box.close()
  })

  test('by an alias of an ssh config, with its key and its jump host', async () => {
    const configFile = join(state.path, 'ssh_config')
    writeFileSync(
      configFile,
      `Host way-in
  HostName 127.0.0.1
  Port ${labPort('jump')}
Host the-box
  HostName 127.0.0.1
  Port ${labPort('target')}
  ProxyJump way-in
Host *
  User root
  IdentityFile ${labFile('id_b')}
  ControlMaster auto
  ControlPath /nonexistent/%C
  RemoteCommand echo no
  StrictHostKeyChecking no
`,
    )
    const target = { name: 'box', host: 'the-box', identity: { kind: 'config' }, configFile, workspace } as const
    const box = await openAt(target)
    expect((await box.run(['echo', 'there'])).stdout).toBe('there\n')
    await box.close()
    // What the config says of host keys does not count.
    pin(`${address('target')} ${hostKey('target')}`)
    await expect(openAt(target)).rejects.toMatchObject({ data: { cause: 'host-key-unknown' } })
  })

  describe('what is refused, each with its cause', () => {
    test.each([
      ['a key', { identity: { kind: 'file', path: labFile('id_other') } }, 'permission-denied', 'key-refused'],
      ['a user', { username: 'nobody' }, 'permission-denied', 'key-refused'],
      ['a port where nothing listens', { port: 1 }, 'connection-lost', 'unreachable'],
      ['a host that is none', { host: 'no-such-host.invalid' }, 'not-found', 'unknown-host'],
      ['a workspace', { workspace: '/proc/nowhere' }, 'permission-denied', 'workspace'],
      ['a workspace that is a file', { workspace: '/etc/passwd' }, 'not-a-directory', 'workspace'],
    ] as const)('%s', async (_name, more, code, cause) => {
      const error: unknown = await openAt(at(more)).catch((reason: unknown) => reason)
      expect(error).toMatchObject({ code, data: { cause }, hint: expect.any(String) as string })
    })

    test('an account without a shell', async () => {
      await expect(openAt(at({}, 'odd'))).rejects.toMatchObject({ code: 'unsupported', data: { cause: 'no-shell' } })
    })

    test.each([
      { host: '-oProxyCommand=touch /tmp/x' },
      { username: '-x' },
      { host: 'a b' },
      { host: 'a*' },
      { jumpHosts: ['-oX'] },
      { jumpHosts: ['a;b'] },
      { port: 0 },
      { workspace: '~root/x' },
      { identity: { kind: 'file', path: 'relative' } },
    ] as const)('%j before ssh sees it', (more) => {
      expect(() => sshProvider(at(more as Partial<SshTarget>))).toThrowError(
        expect.objectContaining({ code: 'invalid-argument' }) as Error,
      )
    })
  })

  test('what login scripts print does no harm; more than fits is told', async () => {
    const profile = labFile('jump/home/.bashrc')
    try {
      writeFileSync(profile, 'echo welcome; printf "\\001\\000"; echo beware >&2\n')
      const box = await openAt(at({ workspace: join(workspace, 'noise') }))
      expect(await box.run(['echo', 'ok'])).toMatchObject({ stdout: 'ok\n', stderr: '' })
      await box.close()
      writeFileSync(profile, 'head -c 100000 /dev/zero | tr "\\0" x\n')
      await expect(openAt(at({ workspace: join(workspace, 'flood') }))).rejects.toMatchObject({
        data: { cause: 'no-shell' },
      })
    } finally {
      rmSync(profile, { force: true })
    }
  })

  describe('credentials', () => {
    test('who has another key file does not get the connection that is open', async () => {
      const box = await openAt(at())
      await expect(openAt(at({ identity: { kind: 'file', path: labFile('id_other') } }))).rejects.toMatchObject({
        data: { cause: 'key-refused' },
      })
      await box.close()
    })

    test('a key of the same name is another credential', async () => {
      const withKey = (file: string): SshTarget =>
        at({
          identity: {
            kind: 'key',
            name: 'default',
            open: async () => parsePrivateKey(readFileSync(labFile(file))),
          },
        })
      const box = await openAt(withKey('id_a'))
      expect((await box.run(['echo', 'in'])).stdout).toBe('in\n')
      await expect(openAt(withKey('id_other'))).rejects.toMatchObject({ data: { cause: 'key-refused' } })
      const other = await openAt(withKey('id_b'))
      await other.close()
      await box.close()
    })
  })

  test('a connection killed in the middle of a million lines: every byte once', { timeout: 60_000 }, async () => {
    const target = at({ name: 'killed' })
    const box = await openAt(target)
    const path = await controlPath(target)
    let killed = 0
    let seen = 0
    const { stdout } = await box.run(['seq', '1000000'], {
      onOutput(_stream, bytes) {
        seen += bytes.byteLength
        if (killed === 0 && seen > 1_000_000) {
          killed = masterPid(path) ?? -1
          process.kill(killed, 'SIGKILL')
        }
      },
    })
    expect(killed).toBeGreaterThan(1)
    expect(stdout === `${Array.from({ length: 1_000_000 }, (_, index) => index + 1).join('\n')}\n`).toBe(true)
    await box.close()
  })

  test("the host's daemon killed: sandboxes and their commands live on", { timeout: 60_000 }, async () => {
    const box = await openAt(at({ name: 'daemon killed' }))
    const running = box.run(['sh', '-c', 'sleep 1; seq 100000'])
    for (const version of await readdir(join(workspace, 'host'))) {
      const [pid] = readFileSync(join(workspace, 'host', version, 'supervisor.pid'), 'utf8').split(' ')
      process.kill(Number(pid), 'SIGKILL')
    }
    expect((await running).stdout.length).toBe(588_895)
    await box.close()
  })

  test('a hundred commands at once over one connection', async () => {
    const box = await openAt(at())
    const results = await Promise.all(
      Array.from({ length: 100 }, (_, index) => box.run(['sh', '-c', `sleep 0.2; echo ${index}`])),
    )
    expect(results.map(({ stdout }) => stdout)).toEqual(results.map((_, index) => `${index}\n`))
    await box.close()
  })

  test('twelve processes that never end leave room for more', async () => {
    const box = await openAt(at())
    const ones = await Promise.all(Array.from({ length: 12 }, () => box.spawn(['sleep', '300'])))
    expect((await box.run(['echo', 'room'])).stdout).toBe('room\n')
    await Promise.all(ones.map((one) => one.kill()))
    await box.close()
  })

  test('an unused connection is closed', async () => {
    const target = at({ idleCloseMs: 2000, identity: { kind: 'file', path: labFile('id_b') } })
    const path = await controlPath(target)
    endMaster(path)
    const box = await openAt(target)
    expect(masterPid(path)).toBeGreaterThan(0)
    await box.close()
    await until(() => masterPid(path) === undefined)
  })

  test('a connection whose sessions are all taken is left alone', async () => {
    const target = at({ name: 'full' })
    await (await openAt(target)).close()
    const path = await controlPath(target)
    const before = masterPid(path)
    await closeHostLinks()
    // One of a server's ten may still be ours, just ending.
    const takers = Array.from({ length: 10 }, () =>
      spawn('ssh', ['-F', 'none', '-S', path, 'host', 'echo in; sleep 60']),
    )
    try {
      await Promise.all(takers.slice(0, 9).map(({ stdout }) => once(stdout, 'data')))
      const box = await openAt(target)
      expect((await box.run(['echo', 'in'])).stdout).toBe('in\n')
      expect(masterPid(path)).toBe(before)
      await box.close()
    } finally {
      for (const taker of takers) taker.kill('SIGKILL')
    }
  })

  test('a connection that passes nothing on is replaced', async () => {
    // A connection of its own: the sessions of the test before end when the server gets to it.
    const target = at({ name: 'wedged', identity: { kind: 'file', path: labFile('id_b') } })
    await (await openAt(target)).close()
    const path = await controlPath(target)
    const wedged = serverPid(path)
    await closeHostLinks()
    process.kill(wedged, 'SIGSTOP')
    try {
      const before = masterPid(path)
      const box = await openAt(target)
      expect((await box.run(['echo', 'anew'])).stdout).toBe('anew\n')
      expect(masterPid(path)).not.toBe(before)
      await box.close()
    } finally {
      process.kill(wedged, 'SIGKILL')
    }
  })

  test('what has outlived its lifetime while the host was off is removed by the next connection', async () => {
    await (await openAt(at())).close()
    await closeHostLinks()
    const record: SandboxRecord = {
      version: 1,
      id: 'expired000000000001',
      name: 'expired',
      engine: 'direct',
      createdAtMs: 1000,
      expiresAtMs: 2000,
      maxExpiresAtMs: 2000,
      owner: null,
      labels: {},
      specDigest: '',
      isolation: 'none',
      network: 'host',
      limits: {},
      workdir: '/',
      bootId: 'another boot',
      python: '/usr/bin/python3',
      cgroups: {},
    }
    const directory = join(workspace, 'sandboxes', record.id)
    mkdirSync(directory)
    writeFileSync(join(directory, 'sandbox.json'), JSON.stringify(record))
    await (await openAt(at())).close()
    await until(() => !existsSync(directory))
  })

  describe('a host without Python', () => {
    const openPlain = (): Promise<Sandbox> =>
      openSandbox({ provider: sshProvider(labTarget('plain', { workspace })), engine: 'direct' }, { timeoutMs: 60_000 })

    test('runs more commands at once than one connection has sessions', async () => {
      const box = await openPlain()
      expect(await box.info()).toMatchObject({ path: 'platform' })
      const results = await Promise.all(
        Array.from({ length: 24 }, (_, index) => box.run(['sh', '-c', `sleep 1; echo ${index}`])),
      )
      expect(results.map(({ stdout }) => stdout)).toEqual(results.map((_, index) => `${index}\n`))
      await box.close()
    })

    test('says that other engines need it', async () => {
      const provider = sshProvider(labTarget('plain', { workspace }))
      for (const engine of [undefined, 'docker', 'namespace'])
        await expect(openSandbox({ provider, engine })).rejects.toMatchObject({
          code: 'engine-unavailable',
          hint: expect.stringContaining('python3') as string,
        })
      expect(await provider.check()).toContainEqual(expect.objectContaining({ subject: 'direct', status: 'warning' }))
    })
  })

  test('nothing is left on the host', async () => {
    expect(await readdir(join(workspace, 'sandboxes'))).toEqual(['.lock'])
  })
})
