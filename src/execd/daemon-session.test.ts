import { createHash, randomBytes } from 'node:crypto'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { RealDaemon } from '../../test/fixtures/real-daemon.ts'
import type { Session } from '../spec/index.ts'
import { runProcess } from './run-process.ts'
import { openDaemonSession } from './session.ts'

const daemon = new RealDaemon()
const { config } = daemon
const problems: unknown[] = []
process.on('unhandledRejection', (reason) => problems.push(reason))

let session: Session
beforeAll(async () => {
  session = await daemon.connect({ start: true })
})
afterAll(async () => {
  await session.close()
  await daemon.stop()
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
    const other = await daemon.connect({ start: false })
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
    const channel = await daemon.channel({ start: false })
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

  test('the far end of a tunnel is told when the client is gone', async () => {
    const server = createServer({ allowHalfOpen: true })
    const told = new Promise<void>((resolve) => {
      server.on('connection', (socket) =>
        socket.resume().on('end', () => {
          socket.destroy()
          resolve()
        }),
      )
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    try {
      const channel = await daemon.channel({ start: false })
      const other = await openDaemonSession(channel)
      const tunnel = await other.connect((server.address() as AddressInfo).port)
      tunnel.on('error', () => undefined)
      tunnel.write('x')
      await channel.close()
      await told
    } finally {
      server.close()
    }
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
