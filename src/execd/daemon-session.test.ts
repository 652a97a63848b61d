import { createHash, randomBytes } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { childChannel } from '../kit/child-channel.ts'
import type { Session } from '../spec/index.ts'
import { bootstrap } from './bootstrap.ts'
import type { DaemonConfig } from './bootstrap.ts'
import { runProcess } from './run-process.ts'
import { openDaemonSession } from './session.ts'

// The real daemon, on this machine, without isolation.
const root = mkdtempSync(join(tmpdir(), 'anyplace-session-'))
const env = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' }
const config: DaemonConfig = {
  sandboxId: 'sessiontest0',
  runDirectory: join(root, 'run'),
  workdir: join(root, 'work'),
  env: { ...env, LANG: 'C.UTF-8' },
  inheritEnv: false,
  expiresAtMs: Date.now() + 600_000,
  maxExpiresAtMs: Date.now() + 1_200_000,
  journalBytes: 64 * 1024 * 1024,
  supervisor: 'self',
  ownPidNamespace: false,
}
const problems: unknown[] = []
process.on('unhandledRejection', (reason) => problems.push(reason))

async function connect(start: boolean): Promise<Session> {
  const channel = await bootstrap((argv, options) => childChannel(argv, { ...options, env }), config, { start })
  return await openDaemonSession(channel)
}

let session: Session
beforeAll(async () => {
  session = await connect(true)
})
afterAll(async () => {
  // The daemon and all its children end with it.
  const pid = Number(readFileSync(join(config.runDirectory, 'supervisor.pid'), 'utf8').split(/\s/)[0])
  await session.close()
  process.kill(pid, 'SIGTERM')
  while (existsSync(`/proc/${pid}`)) await new Promise((resolve) => setTimeout(resolve, 20))
  rmSync(root, { recursive: true, force: true })
}, 20_000)
afterEach(() => {
  expect(problems.splice(0)).toEqual([])
})

describe('processes of the real daemon', () => {
  test('run: outputs apart, exit code, exact argv, input', async () => {
    const words = ['a b', "it's", '"', '$(id)', '-n', '', '\n', 'é\udcff']
    const script =
      'import os,sys; os.write(1, b"\\0".join(os.fsencode(w) for w in sys.argv[1:])); os.write(2, sys.stdin.buffer.read()); sys.exit(7)'
    const result = await runProcess(session, ['python3', '-c', script, ...words], { input: 'in\0put' })
    expect(Buffer.from(result.stdoutBytes).toString('latin1')).toBe(`a b\0it's\0"\0$(id)\0-n\0\0\n\0\u00c3\u00a9\u00ff`)
    expect(result).toMatchObject({ exitCode: 7, stderr: 'in\0put', timedOut: false, signal: null })
    expect((await session.processes()).some(({ id }) => id === result.processId)).toBe(false)
  })

  test('run: check, cwd, env, command not found', async () => {
    await session.files.makeDirectory('sub')
    const shell = ['sh', '-c', 'pwd; echo "$WORD"; exit 3']
    await expect(runProcess(session, shell, { check: true, cwd: 'sub', env: { WORD: 'x y' } })).rejects.toMatchObject({
      code: 'command-failed',
      result: { exitCode: 3, stdout: `${config.workdir}/sub\nx y\n` },
    })
    expect(await runProcess(session, ['no-such-program'])).toMatchObject({ exitCode: 127 })
    await expect(runProcess(session, ['true'], { cwd: 'missing' })).rejects.toMatchObject({ code: 'file-not-found' })
  })

  test('run: a deadline kills the tree and keeps the partial output', async () => {
    const result = await runProcess(session, ['sh', '-c', 'echo early; sleep 60 & sleep 60'], { timeoutMs: 200 })
    expect(result).toMatchObject({ exitCode: 124, timedOut: true, stdout: 'early\n' })
  })

  test('run: an abort after the start reports 130, before it rejects', async () => {
    const abort = new AbortController()
    const running = runProcess(session, ['sh', '-c', 'echo early; sleep 60'], {
      signal: abort.signal,
      onOutput: () => abort.abort(),
    })
    expect(await running).toMatchObject({ exitCode: 130, timedOut: false, stdout: 'early\n' })
    await expect(runProcess(session, ['true'], { signal: abort.signal })).rejects.toMatchObject({ code: 'cancelled' })
  })

  test('run: an abort in the middle of the start leaves nothing behind', async () => {
    for (let turn = 0; turn < 10; turn++) {
      const abort = new AbortController()
      const running = runProcess(session, ['sleep', '60.25'], { signal: abort.signal })
      running.catch(() => undefined)
      if (turn % 2 === 0) await new Promise((resolve) => setImmediate(resolve))
      abort.abort()
      await running.then(
        (result) => expect(result.exitCode).toBe(130),
        (error: unknown) => expect(error).toMatchObject({ code: 'cancelled' }),
      )
    }
    await expect
      .poll(async () => (await session.processes()).filter(({ argv }) => argv[1] === '60.25'), { timeout: 5000 })
      .toEqual([])
  })

  test('run: streamed input with back-pressure; a command that reads none is no error', async () => {
    const block = randomBytes(100_000)
    const total = 60
    async function* source(): AsyncGenerator<Uint8Array> {
      for (let turn = 0; turn < total; turn++) yield block
    }
    const hash = createHash('sha256')
    for (let turn = 0; turn < total; turn++) hash.update(block)
    const result = await runProcess(session, ['sha256sum'], { input: source() })
    expect(result.stdout.slice(0, 64)).toBe(hash.digest('hex'))

    let isClosed = false
    async function* endless(): AsyncGenerator<Uint8Array> {
      try {
        for (;;) yield block
      } finally {
        isClosed = true
      }
    }
    expect(
      await runProcess(session, ['sh', '-c', 'exec <&-; sleep 0.1; echo done'], { input: endless() }),
    ).toMatchObject({ exitCode: 0, stdout: 'done\n' })
    await expect.poll(() => isClosed).toBe(true)
    expect(await runProcess(session, ['true'], { input: new Uint8Array(5_000_000) })).toMatchObject({ exitCode: 0 })
  })

  test('run: caps of the collected output', async () => {
    const numbers = ['sh', '-c', 'seq 1 100000']
    const tail = await runProcess(session, numbers, { maxOutputBytes: 7 })
    expect(tail).toMatchObject({ stdout: '100000\n', truncated: true })
    expect(await runProcess(session, numbers, { maxOutputBytes: 4, keep: 'head' })).toMatchObject({ stdout: '1\n2\n' })
  })

  test('a big stream is exact, read slowly at first', async () => {
    const process = await session.spawn(['sh', '-c', 'head -c 30000000 /dev/zero | tr "\\0" x; echo end >&2'])
    await new Promise((resolve) => setTimeout(resolve, 100))
    const hash = createHash('sha256')
    let length = 0
    for await (const chunk of process.stdout) {
      hash.update(chunk)
      length += chunk.byteLength
    }
    expect(length).toBe(30_000_000)
    expect(hash.digest('hex')).toBe(createHash('sha256').update('x'.repeat(30_000_000)).digest('hex'))
    expect(await new Response(process.stderr).text()).toBe('end\n')
    expect((await process.wait()).exitCode).toBe(0)
  })

  test('lines, stdin, signal and kill', async () => {
    const cat = await session.spawn(['cat'], { stdin: 'pipe' })
    const writer = cat.stdin!.getWriter()
    await writer.write(Buffer.from('one\ntw'))
    await writer.write(Buffer.from('o\n'))
    await writer.close()
    const lines: string[] = []
    for await (const { text } of cat.lines()) lines.push(text)
    expect(lines).toEqual(['one', 'two'])

    const trapped = await session.spawn([
      'sh',
      '-c',
      'trap "echo got; exit 5" USR1; echo ready; while :; do sleep 0.05; done',
    ])
    const reader = trapped.stdout.getReader()
    await reader.read()
    await trapped.signal('SIGUSR1')
    expect((await trapped.wait()).exitCode).toBe(5)
    const stubborn = await session.spawn(['sh', '-c', 'trap "" TERM; sleep 60'])
    await stubborn.kill()
    await stubborn.kill()
    expect(await stubborn.wait()).toMatchObject({ exitCode: 137, signal: 'SIGKILL' })
  })

  test('a terminal, and its size', async () => {
    const shell = await session.spawn(['sh'], { pty: { columns: 80, rows: 24 } })
    const reader = shell.stdout.getReader()
    const writer = shell.stdin!.getWriter()
    await shell.resize(100, 30)
    await writer.write(Buffer.from('stty size; exit 4\n'))
    let text = ''
    for (let step = await reader.read(); !step.done; step = await reader.read())
      text += Buffer.from(step.value).toString()
    expect(text).toContain('30 100')
    expect((await shell.wait()).exitCode).toBe(4)
    await expect((await session.spawn(['true'])).resize(1, 1)).rejects.toMatchObject({ code: 'invalid-argument' })
  })

  test('attach from another session replays from an offset, and a key starts one process', async () => {
    const first = await session.spawn(['sh', '-c', 'echo abcdef; read word; echo "got $word"; exit 9'], {
      stdin: 'pipe',
      key: 'once',
    })
    await first.stdout.getReader().read()
    await first.detach()
    const other = await connect(false)
    try {
      const again = await other.spawn(['sh', '-c', 'echo other'], { key: 'once' })
      expect(again.id).toBe(first.id)
      await again.detach()
      const attached = await other.attach(first.id, { fromOffset: { stdout: 3 } })
      expect(attached.argv[0]).toBe('sh')
      const writer = attached.stdin!.getWriter()
      await writer.write(Buffer.from('word\n'))
      expect(await new Response(attached.stdout).text()).toBe('def\ngot word\n')
      expect((await attached.wait()).exitCode).toBe(9)
      const ended = await other.attach(first.id)
      expect(await new Response(ended.stdout).text()).toBe('abcdef\ngot word\n')
      expect((await ended.wait()).exitCode).toBe(9)
    } finally {
      await other.close()
    }
    await expect(session.attach('p0')).rejects.toMatchObject({ code: 'process-not-found' })
    await expect(session.attach(first.id, { fromOffset: { stdout: 999 } })).rejects.toMatchObject({
      code: 'invalid-argument',
    })
  })

  test('a lost connection gives the offset reached, and attach goes on from there', async () => {
    const channel = await bootstrap((argv, options) => childChannel(argv, { ...options, env }), config, {
      start: false,
    })
    const doomed = await openDaemonSession(channel)
    const process = await doomed.spawn(['sh', '-c', 'printf 12345; sleep 0.5; printf 6789'])
    const reader = process.stdout.getReader()
    await reader.read()
    await channel.close()
    const error = await reader.read().then(
      () => undefined,
      (reason: { code: string; data: { offset: number } }) => reason,
    )
    expect(error).toMatchObject({ code: 'connection-lost', data: { offset: 5 } })
    await expect(process.wait()).rejects.toMatchObject({
      code: 'connection-lost',
      data: { stdoutOffset: 5, processId: process.id },
    })
    const attached = await session.attach(process.id, { fromOffset: { stdout: error!.data.offset } })
    expect(await new Response(attached.stdout).text()).toBe('6789')
  })

  test('200 commands at once each get their own output', async () => {
    const results = await Promise.all(
      Array.from({ length: 200 }, (_, number) => runProcess(session, ['sh', '-c', `echo ${number}`])),
    )
    expect(results.map(({ stdout }) => stdout)).toEqual(Array.from({ length: 200 }, (_, number) => `${number}\n`))
  })
})

describe('files of the real daemon', () => {
  test('write and read, whole, ranged and streamed', async () => {
    const content = randomBytes(3_000_000)
    await session.files.write('deep/er/data.bin', content, { mode: 0o640 })
    expect(Buffer.from(await session.files.read('deep/er/data.bin')).equals(content)).toBe(true)
    expect(await session.files.stat('deep/er/data.bin')).toMatchObject({
      path: 'deep/er/data.bin',
      type: 'file',
      sizeBytes: 3_000_000,
      mode: 0o640,
    })
    const stream = await session.files.readStream('deep/er/data.bin', { offset: 1000, length: 2_000_000 })
    expect(Buffer.from(await new Response(stream).arrayBuffer()).equals(content.subarray(1000, 2_001_000))).toBe(true)
    await expect(session.files.read('deep/er/data.bin', { maxBytes: 10 })).rejects.toMatchObject({
      code: 'resource-exhausted',
    })
    const partly = await session.files.readStream('deep/er/data.bin')
    const reader = partly.getReader()
    await reader.read()
    await reader.cancel()
    await session.files.write('empty', '')
    expect((await session.files.read('empty')).byteLength).toBe(0)
    expect(await new Response(await session.files.readStream('empty')).text()).toBe('')
    async function* source(): AsyncGenerator<Uint8Array> {
      for (let turn = 0; turn < 30; turn++) yield content.subarray(turn * 100_000, (turn + 1) * 100_000)
    }
    await session.files.write('streamed', source())
    expect(Buffer.from(await session.files.read('streamed')).equals(content)).toBe(true)
  })

  test('a write given up leaves the old file', async () => {
    await session.files.write('kept', 'old')
    async function* source(): AsyncGenerator<Uint8Array> {
      yield Buffer.from('half')
      throw new Error('the disk broke')
    }
    await expect(session.files.write('kept', source())).rejects.toThrow('the disk broke')
    // Whatever is still under way is done when the directory is listed again and again the same.
    await new Promise((resolve) => setTimeout(resolve, 200))
    expect(await session.files.readText('kept')).toBe('old')
    expect((await session.files.list()).entries.filter(({ path }) => path.startsWith('.anyplace'))).toEqual([])
  })

  test('what is missing, forbidden or of another kind', async () => {
    await expect(session.files.read('missing')).rejects.toMatchObject({ code: 'file-not-found' })
    await expect(session.files.readStream('missing')).rejects.toMatchObject({ code: 'file-not-found' })
    await session.files.makeDirectory('dir/inner')
    await session.files.makeDirectory('dir/inner')
    await expect(session.files.read('dir')).rejects.toMatchObject({ code: 'is-a-directory' })
    await expect(session.files.write('dir', 'x')).rejects.toMatchObject({ code: 'is-a-directory' })
    await expect(session.files.remove('dir')).rejects.toMatchObject({ code: 'is-a-directory' })
    await expect(session.files.remove('missing')).rejects.toMatchObject({ code: 'file-not-found' })
    await session.files.remove('missing', { force: true })
    await session.files.remove('dir', { recursive: true })
    expect(await session.files.exists('dir')).toBe(false)
    await expect(session.files.read('')).rejects.toMatchObject({ code: 'invalid-argument' })
    await expect(session.files.read('a\0b')).rejects.toMatchObject({ code: 'invalid-argument' })
  })

  test('names that are not UTF-8, and a listing that is cut', async () => {
    await session.files.write('names/\udcff\udc80', 'bytes')
    await session.files.write('names/-rf', 'dash')
    await session.files.write('names/new\nline', 'x')
    const listing = await session.files.list('names')
    expect(listing.entries.map(({ path }) => path)).toEqual(['-rf', 'new\nline', '\udcff\udc80'])
    expect(await session.files.readText('names/\udcff\udc80')).toBe('bytes')
    expect(await session.files.list('names', { maxEntries: 1 })).toMatchObject({
      total: 3,
      truncated: true,
      entries: [{ path: '-rf' }],
    })
  })

  test('trees up and down again, with modes, links and progress', async () => {
    const local = join(root, 'local')
    mkdirSync(join(local, 'a/b'), { recursive: true })
    mkdirSync(join(local, '.git'))
    writeFileSync(join(local, '.git/skipped'), '')
    writeFileSync(join(local, 'a/b/file'), randomBytes(700_000))
    writeFileSync(join(local, 'run.sh'), '#!/bin/sh\n')
    chmodSync(join(local, 'run.sh'), 0o755)
    symlinkSync('a/b/file', join(local, 'link'))
    let progress = 0
    expect(
      await session.files.upload(local, 'tree', { exclude: ['.git'], onProgress: ({ bytes }) => (progress = bytes) }),
    ).toMatchObject({ files: 3 })
    expect(progress).toBeGreaterThan(700_000)
    const back = join(root, 'back')
    expect(await session.files.download('tree', back)).toMatchObject({ files: 3 })
    expect(readFileSync(join(back, 'a/b/file')).equals(readFileSync(join(local, 'a/b/file')))).toBe(true)
    expect(statSync(join(back, 'run.sh')).mode & 0o777).toBe(0o755)
    expect(readlinkSync(join(back, 'link'))).toBe('a/b/file')
    expect(existsSync(join(back, '.git'))).toBe(false)

    await session.files.upload(join(local, 'run.sh'), 'single/renamed.sh')
    expect((await session.files.stat('single/renamed.sh')).mode).toBe(0o755)
    expect(await session.files.download('single/renamed.sh', join(root, 'one.sh'))).toMatchObject({ files: 1 })
    expect(readFileSync(join(root, 'one.sh'), 'utf8')).toBe('#!/bin/sh\n')
    // A named link means what it points to.
    await session.files.download('tree/link', join(root, 'followed'))
    expect(lstatSync(join(root, 'followed')).isFile()).toBe(true)
    await expect(session.files.download('missing', join(root, 'none'))).rejects.toMatchObject({
      code: 'file-not-found',
    })
    await expect(session.files.upload(join(root, 'missing'), 'x')).rejects.toMatchObject({ code: 'file-not-found' })
    expect(existsSync(join(root, 'none'))).toBe(false)
  })

  test('archives with caps', async () => {
    await session.files.write('arch/a', 'aaa')
    for (const format of ['tar.gz', 'tar', 'zip'] as const) {
      const { bytes, sha256, entries } = await session.files.archive('arch', { format })
      expect(createHash('sha256').update(bytes).digest('hex')).toBe(sha256)
      expect(entries).toBeGreaterThan(0)
    }
    await session.files.write('arch/big', randomBytes(300_000))
    await expect(session.files.archive('arch', { maxBytes: 1000 })).rejects.toMatchObject({
      code: 'resource-exhausted',
    })
  })
})

describe('ports and the sandbox itself', () => {
  test('a tunnel carries both directions and half-closes', async () => {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      const chunks: Buffer[] = []
      socket.on('data', (chunk: Buffer) => chunks.push(chunk))
      socket.on('end', () => socket.end(Buffer.concat([Buffer.from('echo:'), ...chunks])))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    try {
      const { port } = server.address() as AddressInfo
      const content = randomBytes(5_000_000)
      const tunnel = await session.connect(port)
      tunnel.end(content)
      const chunks: Buffer[] = []
      for await (const chunk of tunnel) chunks.push(chunk as Buffer)
      expect(Buffer.concat(chunks).equals(Buffer.concat([Buffer.from('echo:'), content]))).toBe(true)
      const dropped = await session.connect(port)
      dropped.write('x')
      dropped.destroy()
    } finally {
      server.close()
    }
    await expect(session.connect(1)).rejects.toMatchObject({ code: 'connection-lost' })
    await expect(session.connect(70_000)).rejects.toMatchObject({ code: 'invalid-argument' })
  })

  test('info, stats, extend', async () => {
    expect(await session.info()).toMatchObject({ path: 'daemon', workdir: config.workdir, expiresAt: expect.any(Date) })
    const stats = await session.stats()
    expect(stats.diskTotalBytes).toBeGreaterThan(0)
    expect(stats.daemonMemoryBytes).toBeGreaterThan(1_000_000)
    const later = await session.extend(900_000)
    expect(later.getTime()).toBeGreaterThan(config.expiresAtMs)
    expect((await session.info()).expiresAt).toEqual(later)
  })
})
