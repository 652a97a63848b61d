import { createHash, randomBytes } from 'node:crypto'
import { chmod, mkdir, mkdtemp, readFile, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Docker from 'dockerode'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Process, Session } from '../../src/spec/index.ts'
import { EngineApi } from '../../src/engines/docker/engine-api.ts'
import { execChannel } from '../../src/engines/docker/exec-channel.ts'
import { openPlatformSession } from '../../src/execd/platform/session.ts'
import type { PlatformHost } from '../../src/execd/platform/place.ts'
import { collectBytes } from '../../src/kit/collect.ts'
import { localMachine } from '../../src/providers/local/local-machine.ts'

// What conformance cannot see: the wrapper's own edges, in real containers that hold no Python.
const IMAGES = ['anyplace-test/busybox:latest', 'anyplace-test/debian:latest']
const socketPath = process.env['DOCKER_HOST']?.replace('unix://', '') ?? '/var/run/docker.sock'
const docker = new Docker({ socketPath })
const isExpected = (process.env['ANYPLACE_EXPECT'] ?? '').split(',').includes('docker')

async function hasImage(image: string): Promise<boolean> {
  return docker
    .getImage(image)
    .inspect()
    .then(
      () => true,
      () => false,
    )
}

for (const image of IMAGES) {
  const isReached = isExpected || (await hasImage(image))
  describe.skipIf(!isReached)(`${image}${isReached ? '' : ' (make it with test/lab/images-without-python)'}`, () => {
    let container: Docker.Container
    let host: PlatformHost
    let session: Session
    let local: string

    beforeAll(async () => {
      container = await docker.createContainer({
        Image: image,
        Cmd: ['/bin/sh', '-c', 'while :; do sleep 1000; done'],
        Labels: { 'anyplace-test': 'platform-session' },
        HostConfig: { NetworkMode: 'none', PidsLimit: 300 },
      })
      await container.start()
      const api = new EngineApi(localMachine(), socketPath)
      host = {
        channel: (argv, options) => execChannel(api, container.id, argv, options),
        info: () => Promise.reject(new Error('not asked')),
      }
    })
    afterAll(async () => {
      await container.remove({ force: true, v: true })
    })
    beforeEach(async () => {
      session = await openPlatformSession(host, { workdir: `/work/${randomBytes(4).toString('hex')}` })
      local = await mkdtemp(join(tmpdir(), 'anyplace-platform-'))
    })
    afterEach(async () => {
      await session.close()
      await rm(local, { recursive: true, force: true })
    })

    const text = async (stream: ReadableStream<Uint8Array>): Promise<string> =>
      Buffer.from(await collectBytes(stream, { maxBytes: 1e8 })).toString()
    const run = async (argv: readonly string[], options: Parameters<Session['spawn']>[1] = {}) => {
      const started = await session.spawn(argv, options)
      const [stdout, stderr, status] = await Promise.all([text(started.stdout), text(started.stderr), started.wait()])
      return { stdout, stderr, ...status }
    }
    const sleepers = async (seconds: number): Promise<number> => {
      const list = 'for p in /proc/[0-9]*; do { read -r line; } <$p/cmdline 2>/dev/null; echo "$line"; done'
      const { stdout } = await run(['sh', '-c', `${list} | grep -c "^sleep$1" || :`, 'sh', `${seconds}`])
      return Number(stdout)
    }
    const untilSleeping = async (seconds: number, count: number): Promise<void> => {
      while ((await sleepers(seconds)) !== count) await new Promise((resolve) => setTimeout(resolve, 50))
    }

    it('tells death by a signal from an exit code above 128', async () => {
      expect(await run(['sh', '-c', 'kill -9 $$'])).toMatchObject({ exitCode: 137, signal: 'SIGKILL' })
      expect(await run(['sh', '-c', 'exit 137'])).toMatchObject({ exitCode: 137, signal: null })
    })

    it('keeps words and variables out of every argv but the command’s own', async () => {
      const secret = randomBytes(8).toString('hex')
      const running = await session.spawn(['sleep', '4100'], { env: { TOKEN: secret } })
      const { stdout } = await run(['sh', '-c', 'cat /proc/[0-9]*/cmdline'])
      expect(stdout).toContain('sleep\u00004100')
      expect(stdout.split('4100')).toHaveLength(2)
      expect(stdout).not.toContain(secret)
      await running.kill()
    })

    it('gives a command exactly its variables, odd names and bytes too', async () => {
      const odd = { 'a.b': 'x\ny', OPTIND: 'none', PWD: '/given', é: '\udcff', QUOTED: `'"$(id)` }
      const bare = await run(['cat', '/proc/self/environ'])
      const names = bare.stdout
        .split('\0')
        .filter(Boolean)
        .map((entry) => entry.split('=')[0] ?? '')
      expect(names.toSorted()).toEqual(['ANYPLACE_PROCESS', 'HOME', 'LANG', 'LOGNAME', 'PATH', 'TERM', 'USER'])
      const raw = await run(['cat', '/proc/self/environ'], { env: odd })
      expect(raw.stdout).toContain('a.b=x\ny\0')
      for (const entry of ['PWD=/given', 'OPTIND=none', `QUOTED='"$(id)`]) expect(raw.stdout).toContain(`${entry}\0`)
      expect(raw.stdout).toContain('é=\ufffd\0')
    })

    it('runs programs whose names hold = or begin with a dash', async () => {
      const script = '#!/bin/sh\necho ran "$@"'
      await session.files.write('a=b', script, { mode: 0o755 })
      await session.files.write('-x', script, { mode: 0o755 })
      const workdir = (await run(['pwd'])).stdout.trim()
      const env = { PATH: `${workdir}:/bin:/usr/bin` }
      expect((await run(['a=b', '1 2'], { env })).stdout).toBe('ran 1 2\n')
      expect((await run(['a=b', '1 2'], { env: { ...env, 'o.dd': '' } })).stdout).toBe('ran 1 2\n')
      expect((await run(['-x', '-n'], { env })).stdout).toBe('ran -n\n')
    })

    it('kills what forked twice, left the session and ignores signals', async () => {
      const tree =
        'trap "" TERM; sleep 4200 & (setsid sleep 4200 &); (sleep 4200 &); setsid sh -c "sleep 4200 & sleep 4200"; wait'
      const running = await session.spawn(['sh', '-c', tree])
      await untilSleeping(4200, 5)
      await running.kill()
      expect(await sleepers(4200)).toBe(0)
      await running.kill()
    })

    it('kills the tree at its deadline though the client has let go', async () => {
      const running = await session.spawn(['sh', '-c', 'setsid sleep 4300 & sleep 4300'], { timeoutMs: 1500 })
      await running.detach()
      await untilSleeping(4300, 2)
      await untilSleeping(4300, 0)
    })

    it('does not wait for a background child that holds the outputs', async () => {
      const result = await run(['sh', '-c', 'sleep 4400 & echo done'])
      expect(result).toMatchObject({ stdout: 'done\n', exitCode: 0 })
    })

    it('holds a flood back for a reader that comes late, and loses nothing', async () => {
      const bytes = 20_000_000
      const running = await session.spawn(['sh', '-c', `head -c ${bytes} /dev/zero; echo end >&2`])
      await new Promise((resolve) => setTimeout(resolve, 300))
      await expect(session.processes()).resolves.toMatchObject([{ state: 'running' }])
      const hash = createHash('sha256')
      const stderr = text(running.stderr)
      for await (const chunk of running.stdout) hash.update(chunk)
      expect(hash.digest('hex')).toBe(createHash('sha256').update(Buffer.alloc(bytes)).digest('hex'))
      expect(await stderr).toBe('end\n')
    })

    it('gives all output to a reader that starts right after wait was called', async () => {
      const running = await session.spawn(['sh', '-c', 'echo out'])
      await new Promise((resolve) => setTimeout(resolve, 300))
      const waiting = running.wait()
      expect(await text(running.stdout)).toBe('out\n')
      expect(await waiting).toMatchObject({ exitCode: 0 })
    })

    it('kills a command that is stuck with output nobody reads, and runs the next', async () => {
      const running = await session.spawn(['sh', '-c', 'head -c 50000000 /dev/zero'])
      await new Promise((resolve) => setTimeout(resolve, 300))
      await running.kill()
      expect(await run(['echo', 'next'])).toMatchObject({ stdout: 'next\n' })
      expect(await running.wait()).toMatchObject({ exitCode: 137 })
    })

    it('leaves no watchdog behind a command that ended in time', async () => {
      await run(['true'], { timeoutMs: 4_500_000 })
      await untilSleeping(4500, 0)
    })

    it('refuses each power it lacks and says what to do', async () => {
      const calls: (() => Promise<unknown>)[] = [
        () => session.attach('x'),
        () => session.connect(80),
        () => session.extend(1000),
        () => session.spawn(['true'], { key: 'k' }),
        () => session.spawn(['true'], { pty: { columns: 80, rows: 24 } }),
        () => session.spawn(['true'], { onDetachedOverflow: 'block' }),
      ]
      for (const call of calls) {
        await expect(call()).rejects.toMatchObject({ code: 'unsupported', hint: expect.stringContaining('Python') })
      }
    })

    it('reads any range of a file', async () => {
      const bytes = randomBytes(300_000)
      await session.files.write('file', bytes)
      const ranges: [number, number?][] = [
        [0, 10],
        [65_536, 65_536],
        [70_001],
        [299_990, 100],
        [300_000, 5],
        [400_000],
        [5, 0],
      ]
      for (const [offset, length] of ranges) {
        const stream = await session.files.readStream('file', { offset, ...(length === undefined ? {} : { length }) })
        const wanted = bytes.subarray(offset, length === undefined ? undefined : offset + length)
        expect(Buffer.from(await collectBytes(stream, { maxBytes: 1e6 })).equals(wanted)).toBe(true)
      }
    })

    it('keeps the old file when the writer breaks off, and leaves nothing beside it', async () => {
      await session.files.write('file', 'old')
      const broken = async function* (): AsyncGenerator<Uint8Array> {
        yield Buffer.alloc(1000, 'new')
        await Promise.resolve()
        throw new Error('the source broke')
      }
      await expect(session.files.write('file', broken())).rejects.toThrow('the source broke')
      const stalled = async function* (): AsyncGenerator<Uint8Array> {
        yield Buffer.alloc(1000, 'new')
        await new Promise(() => {})
      }
      const signal = AbortSignal.timeout(300)
      await expect(session.files.write('file', stalled(), { signal })).rejects.toMatchObject({ code: 'timeout' })
      expect(await session.files.readText('file')).toBe('old')
      expect((await session.files.list()).entries.map(({ path }) => path)).toEqual(['file'])
    })

    it('tells a missing path from a forbidden one', async () => {
      await using other = await openPlatformSession(host, { workdir: '/tmp/other', user: '1000' })
      await session.spawn(['chmod', '700', '/root']).then((started: Process) => started.wait())
      await session.files.write('/root/secret', '', { mode: 0o600 })
      const calls = [(path: string) => other.files.read(path), (path: string) => other.files.stat(path)]
      for (const call of calls) {
        await expect(call('/root/secret')).rejects.toMatchObject({ code: 'permission-denied' })
        await expect(call('/root/none')).rejects.toMatchObject({ code: 'permission-denied' })
        await expect(call('/tmp/none/x')).rejects.toMatchObject({ code: 'file-not-found' })
      }
      await expect(other.files.write('/etc/x', '')).rejects.toMatchObject({ code: 'permission-denied' })
    })

    it('moves a tree both ways and back again, names of any bytes', async () => {
      const tree = join(local, 'tree')
      const long = join('n'.repeat(120), 'f'.repeat(150))
      await mkdir(join(tree, 'n'.repeat(120)), { recursive: true })
      await mkdir(join(tree, 'git*x'))
      await writeFile(join(tree, long), 'long')
      await writeFile(join(tree, 'gitax'), 'kept')
      await writeFile(join(tree, 'git*x', 'out'), '')
      await writeFile(Buffer.concat([Buffer.from(`${tree}/`), Buffer.of(0xff, 0x0a, 0x2d)]), 'bytes')
      await writeFile(join(tree, '-run'), '')
      await chmod(join(tree, '-run'), 0o751)
      await symlink('gitax', join(tree, 'link'))
      for (let round = 0; round < 2; round++) expect((await session.files.upload(tree, 'there')).files).toBe(6)
      await session.files.download('there', join(local, 'back'), { exclude: ['git*x'] })
      const names = (await readdir(join(local, 'back'), { encoding: 'buffer' })).map((name) => name.toString('latin1'))
      expect(names.sort()).toEqual(['-run', 'gitax', 'link', 'n'.repeat(120), 'ÿ\n-'].sort())
      expect(await readFile(join(local, 'back', long), 'utf8')).toBe('long')
      expect((await session.files.stat('there/-run')).mode).toBe(0o751)
    })

    it('does not follow a link that stands in the way of an upload', async () => {
      await run(['sh', '-c', 'mkdir out there && ln -s ../out there/sub && ln -s ../out/file there/file'])
      await mkdir(join(local, 'tree/sub'), { recursive: true })
      await writeFile(join(local, 'tree/sub/x'), '')
      await expect(session.files.upload(join(local, 'tree'), 'there')).rejects.toMatchObject({ code: 'unsafe-archive' })
      await rm(join(local, 'tree/sub'), { recursive: true })
      await writeFile(join(local, 'tree/file'), 'mine')
      await session.files.upload(join(local, 'tree'), 'there')
      expect((await session.files.list('.', { recursive: true })).entries.map(({ path }) => path)).toEqual([
        'out',
        'there',
        'there/file',
        'there/sub',
      ])
      expect(await session.files.stat('there/file')).toMatchObject({ type: 'file' })
    })

    it('ends an archive that grows beyond its caps without hanging', async () => {
      await run(['sh', '-c', 'head -c 5000000 /dev/urandom >big; mkfifo pipe'])
      await expect(session.files.archive('.', { maxBytes: 1000 })).rejects.toMatchObject({ code: 'resource-exhausted' })
      const { entries } = await session.files.archive('.', { format: 'zip' })
      expect(entries).toBe(1)
    })
  })
}
