import { randomBytes } from 'node:crypto'
import { mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { connectEngine } from '../../src/engines/docker/connection.ts'
import { dockerEngine } from '../../src/engines/docker/docker-engine.ts'
import { localMachine } from '../../src/providers/local/local-machine.ts'
import type { Engine, Host, OpenRequest, SandboxSpec } from '../../src/spec/index.ts'

// What conformance cannot see: the container itself, names, networks, hardening, what a failed open leaves.
// Conformance covers commands and files.

const machine = localMachine()
const expected = (process.env['ANYPLACE_EXPECT'] ?? '').split(',')

for (const kind of ['docker', 'podman'] as const) {
  const engine = dockerEngine(machine, { kind })
  const finding = await engine.check()
  if (finding.status === 'unavailable') {
    const skipped = `${kind}: NOT TESTED, ${finding.message} (${finding.hint ?? ''})`
    if (expected.includes(kind)) {
      test(`${kind} is expected`, () => {
        throw new Error(skipped)
      })
    } else test.skip(skipped, () => {})
    continue
  }
  describe(kind, { timeout: 60_000 }, () => {
    suite(kind, engine)
  })
}

function suite(kind: 'docker' | 'podman', engine: Engine): void {
  const ids = new Set<string>()
  let shared: Host

  function request(spec: SandboxSpec = {}, more: Partial<OpenRequest> = {}): OpenRequest {
    const id = `test${randomBytes(8).toString('hex')}`
    ids.add(id)
    return {
      id,
      name: id,
      spec,
      lifetime: { timeoutMs: 120_000, maxLifetimeMs: 120_000 },
      labels: {},
      owner: undefined,
      specDigest: 'digest',
      ...more,
    }
  }

  async function run(
    host: Host,
    script: string,
    options: { readonly user?: string; readonly env?: Record<string, string> } = {},
  ): Promise<{ readonly exitCode: number | null; readonly stdout: string; readonly stderr: string }> {
    if (host.channel === undefined) throw new Error('a container has raw processes')
    await using channel = await host.channel(['/bin/sh', '-c', script], options)
    channel.stdin.end()
    const text = async (stream: AsyncIterable<unknown>): Promise<string> => {
      const chunks: Buffer[] = []
      for await (const chunk of stream) chunks.push(chunk as Buffer)
      return Buffer.concat(chunks).toString()
    }
    const [stdout, stderr, { exitCode }] = await Promise.all([text(channel.stdout), text(channel.stderr), channel.exit])
    return { exitCode, stdout, stderr }
  }

  async function listed(id: string): Promise<readonly string[]> {
    const found: string[] = []
    for await (const info of engine.list()) if (info.id === id) found.push(info.state)
    return found
  }

  beforeAll(async () => {
    shared = await engine.open(request())
  }, 60_000)

  afterAll(async () => {
    await Promise.all([...ids].map((id) => engine.remove(id)))
    for (const id of ids) expect(await listed(id)).toEqual([])
  }, 60_000)

  test('the daemon answers on the channel', async () => {
    await using channel = await shared.connect()
    expect(String(channel.stdout.read())).toContain('anyplace-execd')
  })

  test('a raw process: both outputs, stdin, exit code, environment, user', async () => {
    expect(await run(shared, 'echo out; echo err >&2; exit 3')).toEqual({
      exitCode: 3,
      stdout: 'out\n',
      stderr: 'err\n',
    })
    const { stdout } = await run(shared, 'echo "$A $(id -u):$(id -g)"', { env: { A: 'x y' }, user: '1234:99' })
    expect(stdout).toBe('x y 1234:99\n')
    if (shared.channel === undefined) return
    await using cat = await shared.channel(['cat'])
    const sent = randomBytes(3_000_000)
    cat.stdin.end(sent)
    const chunks: Buffer[] = []
    for await (const chunk of cat.stdout) chunks.push(chunk as Buffer)
    expect(Buffer.concat(chunks).equals(sent)).toBe(true)
    expect(await cat.exit).toEqual({ exitCode: 0, signal: null })
  })

  test('words that the engine would change are refused', async () => {
    await expect(run(shared, 'echo \udc80')).rejects.toMatchObject({ code: 'invalid-argument' })
    await expect(run(shared, 'echo \0')).rejects.toMatchObject({ code: 'invalid-argument' })
  })

  test('pid 1 has few capabilities, no way to new ones, and is ours', async () => {
    const { stdout } = await run(shared, 'cat /proc/1/status; tr "\\0" " " </proc/1/cmdline')
    // CHOWN, DAC_OVERRIDE, FOWNER, KILL, SETGID, SETUID
    expect(stdout).toMatch(/CapBnd:\s*00000000000000eb\n/)
    expect(stdout).toMatch(/CapEff:\s*00000000000000eb\n/)
    expect(stdout).toMatch(/NoNewPrivs:\s*1\n/)
    expect(stdout).toContain('python3 -I -S -c')
  })

  test('root inside cannot end pid 1', async () => {
    await run(shared, 'for s in TERM INT HUP KILL STOP; do kill -$s 1; done; sleep 0.2')
    expect((await shared.info()).state).toBe('running')
  })

  test('no socket of an engine is inside', async () => {
    const { stdout } = await run(shared, 'find / -xdev -type s -name "*.sock" 2>/dev/null; grep -c sock /proc/mounts')
    expect(stdout.trim()).toBe('0')
  })

  test('info tells what was asked and what is in force', async () => {
    const spec: SandboxSpec = {
      cpuLimit: 0.5,
      memoryLimitMiB: 200,
      pidsLimit: 50,
      network: false,
      image: 'python:3.12-slim',
    }
    const owner = { hostname: 'h', bootId: 'b', pidNamespace: '1', pid: 2, startTime: '3' }
    const asked = request(spec, { labels: { 'a.b': 'ü "x"' }, owner })
    await using host = await engine.open(asked)
    expect(await host.info()).toMatchObject({
      id: asked.id,
      name: asked.name,
      engine: kind,
      state: 'running',
      isolation: 'container',
      limits: { cpuLimit: 0.5, memoryLimitMiB: 200, pidsLimit: 50 },
      network: 'none',
      image: 'python:3.12-slim',
      labels: { 'a.b': 'ü "x"' },
      owner,
      specDigest: 'digest',
      workdir: '/workspace',
    })
    const { stdout } = await run(
      host,
      'cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; ls /sys/class/net',
    )
    expect(stdout).toBe(`${264 * 1024 * 1024}\nlo\n`)
  })

  test('one sandbox cannot reach another', async () => {
    // Makes Podman 4 forget the isolation of bridges.
    const { api } = await connectEngine(machine, kind)
    await api.json('GET', '/networks')
    await using listener = await engine.open(request())
    await using other = await engine.open(request())
    // Ending one must not open the way between the others.
    await (await engine.open(request())).close()
    const { stdout: address } = await run(listener, 'hostname -i')
    expect(address).toMatch(/^\d+\./)
    const serve = 'import socket;s=socket.create_server(("",8123));s.settimeout(8)\nwhile 1:s.accept()[0].close()'
    const serving = run(listener, `python3 -c '${serve}'`)
    const reach = `python3 -c 'import socket;socket.create_connection(("${address.trim()}",8123),2)'`
    await expect.poll(async () => (await run(listener, reach)).exitCode, { timeout: 7000 }).toBe(0)
    expect((await run(other, reach)).exitCode).toBe(1)
    await serving
  })

  test('a name is taken once, and free again when its sandbox has ended', async () => {
    const first = request({}, { lifetime: { timeoutMs: 2000, maxLifetimeMs: 2000 } })
    const host = await engine.open(first)
    await expect(engine.open(request({}, { name: first.name }))).rejects.toMatchObject({
      code: 'conflict',
      field: 'name',
    })
    await expect.poll(() => listed(first.id), { timeout: 15_000 }).toEqual([])
    await expect(host.info()).rejects.toMatchObject({ code: 'sandbox-gone' })
    await expect(host.connect()).rejects.toMatchObject({
      code: 'sandbox-gone',
      message: expect.stringContaining('lifetime') as string,
    })
    expect(await engine.attach(first.name)).toBeUndefined()
    await using second = await engine.open(request({}, { name: first.name }))
    expect((await engine.attach(first.name))?.id).toBe(second.id)
  })

  test('many clients opening one name at once: one gets it', async () => {
    const requests = Array.from({ length: 4 }, () => request())
    const name = requests[0]?.id ?? ''
    const results = await Promise.allSettled(requests.map((one) => engine.open({ ...one, name })))
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    for (const result of results)
      if (result.status === 'rejected') expect(result.reason).toMatchObject({ code: 'conflict' })
  })

  test('a sandbox that was removed is gone, and closing it again is no error', async () => {
    const asked = request()
    const host = await engine.open(asked)
    await engine.remove(asked.id)
    await engine.remove(asked.id)
    await expect(host.connect()).rejects.toMatchObject({
      code: 'sandbox-gone',
      message: expect.stringContaining('removed') as string,
    })
    await expect(host.info()).rejects.toMatchObject({ code: 'sandbox-gone' })
    await host.close()
    await host.close()
  })

  test('attach finds by name and by id', async () => {
    expect((await engine.attach(shared.name))?.id).toBe(shared.id)
    const host = await engine.attach(shared.id)
    await using channel = await host?.connect()
    expect(String(channel?.stdout.read())).toContain('anyplace-execd')
    expect(await engine.attach('nobody-here')).toBeUndefined()
  })

  test('an abort in the middle leaves nothing', async () => {
    for (const afterMs of [0, 10, 60, 150]) {
      const asked = request({}, { signal: AbortSignal.timeout(afterMs) })
      const opened = await engine.open(asked).then(
        (host) => host,
        (error: unknown) => error,
      )
      // It may have been done before.
      if ('close' in (opened as object)) await (opened as Host).close()
      else expect(opened).toMatchObject({ code: 'timeout' })
      expect(await listed(asked.id)).toEqual([])
    }
  })

  test('host directories: read-only unless asked, files stay the caller’s, a home to write to', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'anyplace-mount-'))
    try {
      await writeFile(join(directory, 'in.txt'), 'seen')
      const facts = { ...(await machine.facts()), uid: 1234, gid: 2345 }
      const asCaller = dockerEngine({ ...machine, facts: async () => facts }, { kind })
      await rm(directory, { recursive: true })
      const { mkdir, chown } = await import('node:fs/promises')
      await mkdir(directory)
      await writeFile(join(directory, 'in.txt'), 'seen')
      await chown(directory, 1234, 2345)
      await using host = await asCaller.open(
        request({ workspace: directory, mounts: [{ source: directory, target: '/data with space' }] }),
      )
      await (await host.connect()).close()
      const { stdout } = await run(
        host,
        'id -u; cat "/data with space/in.txt"; echo; touch "/data with space/no" 2>/dev/null || echo read-only; echo made >/workspace/out.txt; echo "$HOME"; touch "$HOME/x" && echo home',
      )
      expect(stdout).toBe('1234\nseen\nread-only\n/home/anyplace\nhome\n')
      expect(await readFile(join(directory, 'out.txt'), 'utf8')).toBe('made\n')
      expect(await stat(join(directory, 'out.txt'))).toMatchObject({ uid: 1234, gid: 2345 })
    } finally {
      await rm(directory, { recursive: true, force: true })
    }
  })

  test('an engine’s socket is never mounted: not itself, not above it, not through a link', async () => {
    const socket = (kind === 'docker' ? process.env['DOCKER_HOST'] : process.env['CONTAINER_HOST'])?.slice(
      'unix://'.length,
    )
    const real = socket ?? (kind === 'docker' ? '/var/run/docker.sock' : '/run/podman/podman.sock')
    const directory = await mkdtemp(join(tmpdir(), 'anyplace-link-'))
    try {
      await symlink(join(real, '..'), join(directory, 'link'))
      for (const source of [real, join(real, '..'), '/', `${join(real, '..')}/./`, join(directory, 'link')]) {
        await expect(engine.open(request({ mounts: [{ source, target: '/m' }] })), source).rejects.toMatchObject({
          code: 'permission-denied',
          field: 'mounts[0]',
        })
      }
    } finally {
      await rm(directory, { recursive: true, force: true })
    }
  })

  test.each([
    [{ image: '-v' }, 'invalid-argument', 'image'],
    [{ image: 'anyplace-test/no-such-image:1' }, 'image-not-found', 'image'],
    [{ cpu: 10_000 }, 'unsupported', 'cpu'],
    [{ memoryLimitMiB: 1e9 }, 'unsupported', 'memoryLimitMiB'],
    [{ gpu: { type: 'NONE9000' } }, 'unsupported', 'gpu'],
    [{ mounts: [{ source: '/no/such/place', target: '/x' }] }, 'file-not-found', 'mounts[0]'],
    [{ mounts: [{ source: 'relative', target: '/x' }] }, 'invalid-argument', 'mounts[0].source'],
    [{ mounts: [{ source: '/usr', target: '/proc' }] }, 'invalid-argument', 'mounts[0]'],
    [{ workdir: 'relative' }, 'invalid-argument', 'workdir'],
    [{ env: { 'A=B': 'x' } }, 'invalid-argument', 'env'],
  ] satisfies readonly [SandboxSpec, string, string][])(
    '%j is refused and leaves nothing',
    async (spec, code, field) => {
      const asked = request(spec)
      await expect(engine.open(asked)).rejects.toMatchObject({ code, field })
      expect(await listed(asked.id)).toEqual([])
    },
  )

  test('directories are refused where they are not there: on another machine', async () => {
    const remote = dockerEngine({ ...machine, isLocal: false, label: 'far' }, { kind })
    await expect(remote.open(request({ workspace: '/usr' }))).rejects.toMatchObject({
      code: 'unsupported',
      field: 'workspace',
    })
  })

  test('the other engine’s socket is not silently taken', async () => {
    const { engineEnv } = await machine.facts()
    const other = kind === 'docker' ? engineEnv['CONTAINER_HOST'] : engineEnv['DOCKER_HOST']
    if (other === undefined) return
    const wrong = dockerEngine(machine, { kind, socket: other.slice('unix://'.length) })
    expect(await wrong.check()).toMatchObject({
      status: 'unavailable',
      message: expect.stringContaining('answers there') as string,
    })
  })

  test('a socket where nothing sensible answers is told with its path', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'anyplace-socket-'))
    const server = createServer((socket) => socket.end('nonsense\r\n\r\n'))
    try {
      const path = join(directory, 'x.sock')
      await new Promise<void>((resolve) => server.listen(path, resolve))
      const broken = dockerEngine(machine, { kind, socket: path })
      expect(await broken.check()).toMatchObject({
        status: 'unavailable',
        message: expect.stringContaining(path) as string,
      })
    } finally {
      server.close()
      await rm(directory, { recursive: true, force: true })
    }
  })
}
