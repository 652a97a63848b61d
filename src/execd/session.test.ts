import { afterEach, expect, test } from 'vitest'
import { HostileDaemon } from '../../test/fixtures/hostile-daemon.ts'
import type { SeenRequest } from '../../test/fixtures/hostile-daemon.ts'
import type { Process, Session } from '../spec/index.ts'
import { runProcess } from './run-process.ts'

const MIB = 1024 * 1024
const problems: unknown[] = []
process.on('unhandledRejection', (reason) => problems.push(reason))
const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

let daemon: HostileDaemon
let session: Session
async function open(options = {}): Promise<void> {
  ;({ daemon, session } = await HostileDaemon.open(options))
}
async function spawned(
  options = {},
): Promise<{ seen: SeenRequest; process: Process; stdout: number; stderr: number; stdin: number }> {
  const spawning = session.spawn(['x'], options)
  const seen = await daemon.nextRequest()
  daemon.respond(seen.id, { processId: 'p1', pid: 42 })
  const id = (name: string): number => seen.request[name] as number
  return { seen, process: await spawning, stdout: id('stdout'), stderr: id('stderr'), stdin: id('stdin') }
}
afterEach(async () => {
  await session?.close()
  await tick()
  expect(problems.splice(0)).toEqual([])
})

test('grants more only as the reader consumes', async () => {
  await open()
  const { process, stdout } = await spawned()
  for (let at = 0; at < MIB; at += 65_536) daemon.data(stdout, at, Buffer.alloc(65_536, at / 65_536))
  await tick()
  expect(daemon.windows.get(stdout)).toBeUndefined()
  const reader = process.stdout.getReader()
  let read = 0
  while (read < MIB / 4) read += (await reader.read()).value!.byteLength
  await tick()
  expect(daemon.windows.get(stdout)).toBeUndefined()
  while (read < MIB / 2) read += (await reader.read()).value!.byteLength
  await expect.poll(() => daemon.windows.get(stdout)).toBe(read + MIB)
})

test('wait drops what nobody reads and keeps the process going', async () => {
  await open()
  const { seen, process, stdout, stderr } = await spawned()
  const waiting = process.wait()
  let sent = 0
  for (let round = 0; round < 3; round++) {
    const limit = daemon.windows.get(stdout) ?? MIB
    for (; sent < limit; sent += 65_536) daemon.data(stdout, sent, Buffer.alloc(65_536))
    await expect.poll(() => daemon.windows.get(stdout)).toBeGreaterThanOrEqual(sent + MIB / 2)
  }
  daemon.data(stderr, 0, 'x')
  daemon.exit(seen.id, { exitCode: 3, stdoutBytes: sent, stderrBytes: 1 })
  expect(await waiting).toEqual({ exitCode: 3, signal: null, timedOut: false, oomKilled: false, durationMs: 1 })
  expect(await process.wait()).toMatchObject({ exitCode: 3 })
})

test('a reader that starts in the same turn as wait gets everything', async () => {
  await open()
  const { seen, process, stdout } = await spawned()
  daemon.data(stdout, 0, 'abc')
  daemon.exit(seen.id, { stdoutBytes: 3 })
  await tick()
  const [, text] = await Promise.all([process.wait(), new Response(process.stdout).text()])
  expect(text).toBe('abc')
})

test('an aborted wait rejects and the process goes on', async () => {
  await open()
  const { seen, process } = await spawned()
  const abort = new AbortController()
  const waiting = process.wait({ signal: abort.signal })
  abort.abort()
  await expect(waiting).rejects.toMatchObject({ code: 'cancelled' })
  daemon.exit(seen.id)
  expect((await process.wait()).exitCode).toBe(0)
})

test('stdin obeys the windows and closes with end of file', async () => {
  await open()
  const { process, stdin } = await spawned({ stdin: 'pipe' })
  const writer = process.stdin!.getWriter()
  const written = writer.write(new Uint8Array(3 * MIB)).then(() => writer.close())
  await expect.poll(() => daemon.inputs.get(stdin)?.bytes.byteLength).toBe(MIB)
  await tick()
  expect(daemon.inputs.get(stdin)!.bytes.byteLength).toBe(MIB)
  daemon.window(stdin, 2 * MIB + 5)
  await expect.poll(() => daemon.inputs.get(stdin)!.bytes.byteLength).toBe(2 * MIB + 5)
  daemon.window(stdin, 9 * MIB)
  await written
  await expect.poll(() => daemon.inputs.get(stdin)!.isEnded).toBe(true)
  expect(daemon.inputs.get(stdin)!.bytes.byteLength).toBe(3 * MIB)
})

test('writing to a process that has ended fails, and says so', async () => {
  await open()
  const { seen, process } = await spawned({ stdin: 'pipe' })
  const writer = process.stdin!.getWriter()
  writer.closed.catch(() => undefined)
  const stuck = writer.write(new Uint8Array(2 * MIB))
  await tick()
  daemon.exit(seen.id)
  await expect(stuck).rejects.toMatchObject({ code: 'process-not-found' })
})

test('lines come in the order they arrived', async () => {
  await open()
  const { seen, process, stdout, stderr } = await spawned()
  daemon.data(stdout, 0, 'a\nb')
  daemon.data(stderr, 0, 'E1\n')
  daemon.data(stdout, 3, 'c\n')
  daemon.data(stderr, 3, 'E2')
  daemon.exit(seen.id, { stdoutBytes: 5, stderrBytes: 5 })
  const lines: string[] = []
  for await (const { stream, text } of process.lines()) lines.push(`${stream === 'stdout' ? '' : '!'}${text}`)
  expect(lines).toEqual(['a', '!E1', 'bc', '!E2'])
  expect(() => process.lines()).toThrow(/already being read/)
  expect(() => process.stdout).toThrow(/already being read/)
})

test('detach tells the daemon, frees the readers and swallows what is on its way', async () => {
  await open()
  const { seen, process, stdout } = await spawned()
  const reading = process.stdout.getReader().read()
  await process.detach()
  await process.detach()
  await expect(reading).rejects.toMatchObject({ code: 'cancelled' })
  await expect(process.wait()).rejects.toMatchObject({ code: 'cancelled' })
  daemon.data(stdout, 0, 'late')
  daemon.exit(seen.id, { stdoutBytes: 4 })
  await expect.poll(() => daemon.notifications).toEqual([{ op: 'unfollow', request: seen.id }])
  const stats = session.stats()
  daemon.refuse((await daemon.nextRequest()).id, { code: 'internal', message: 'still there' })
  await expect(stats).rejects.toThrow('still there')
})

test('an attach begins where the daemon says, and at no other byte than it was asked for', async () => {
  await open()
  const respond = async (fromStdout: unknown): Promise<SeenRequest> => {
    const seen = await daemon.nextRequest()
    daemon.respond(seen.id, { processId: 'p1', pid: 42, argv: ['x'], pty: false, fromStdout, fromStderr: 0 })
    return seen
  }
  const attaching = session.attach('p1', { fromOffset: 'kept' })
  const { id, request } = await respond(5000)
  expect(request).toMatchObject({ fromStdout: 'kept', fromStderr: 'kept' })
  const process = await attaching
  expect(process.fromOffset).toEqual({ stdout: 5000, stderr: 0 })
  daemon.data(request['stdout'] as number, 5000, 'rest')
  daemon.exit(id, { stdoutBytes: 5004, stderrBytes: 0 })
  expect(await new Response(process.stdout).text()).toBe('rest')
  for (const wrong of [-1, 1.5, 'kept', undefined, 8]) {
    await open()
    const again = session.attach('p1', { fromOffset: { stdout: 7 } })
    again.catch(() => undefined)
    await respond(wrong)
    await expect(again).rejects.toMatchObject({ code: 'protocol-error' })
  }
})

test('a spawn given up before its response is killed when it comes', async () => {
  await open()
  const abort = new AbortController()
  const spawning = session.spawn(['x'], { signal: abort.signal })
  const seen = await daemon.nextRequest()
  abort.abort()
  await expect(spawning).rejects.toMatchObject({ code: 'cancelled' })
  daemon.respond(seen.id, { processId: 'p9', pid: 1 })
  daemon.data(seen.request['stdout'] as number, 0, 'xyz')
  const kill = await daemon.nextRequest()
  expect(kill.request).toEqual({ op: 'kill', processId: 'p9', reason: 'cancel' })
  daemon.exit(seen.id, { exitCode: 130, signal: 'SIGKILL', stdoutBytes: 3 })
  daemon.respond(kill.id, {})
  await expect.poll(() => daemon.notifications).toEqual([{ op: 'release', processId: 'p9' }])
})

test('a spawn given up whose key named a running process leaves that one alone', async () => {
  await open()
  const abort = new AbortController()
  const spawning = session.spawn(['x'], { signal: abort.signal, key: 'k' })
  const seen = await daemon.nextRequest()
  expect(seen.request).toMatchObject({ key: 'k', keep: true })
  abort.abort()
  await expect(spawning).rejects.toMatchObject({ code: 'cancelled' })
  daemon.respond(seen.id, { processId: 'p9', pid: 1, existing: true })
  await expect.poll(() => daemon.notifications).toEqual([{ op: 'unfollow', request: seen.id }])
})

test('run sends its input with the request, and releases the process', async () => {
  await open()
  const running = runProcess(session, ['cat'], { input: 'hello' })
  const seen = await daemon.nextRequest()
  const stdin = seen.request['stdin'] as number
  // Before any answer.
  expect(daemon.inputs.get(stdin)).toMatchObject({ isEnded: true })
  expect(daemon.inputs.get(stdin)!.bytes.toString()).toBe('hello')
  expect(seen.request).toMatchObject({ op: 'spawn', argv: ['cat'], keep: false })
  daemon.respond(seen.id, { processId: 'p1', pid: 1 })
  daemon.exit(seen.id, { stdoutBytes: 5 })
  daemon.data(seen.request['stdout'] as number, 0, 'hello')
  expect(await running).toMatchObject({ exitCode: 0, stdout: 'hello', stderr: '', truncated: false })
  await expect.poll(() => daemon.notifications).toEqual([{ op: 'release', processId: 'p1' }])
})

test('a write that fits the window leaves in one burst', async () => {
  await open()
  const writing = session.files.write('f', 'x'.repeat(500_000), { mode: 0o600 })
  const seen = await daemon.nextRequest()
  const input = seen.request['input'] as number
  await tick()
  expect(daemon.inputs.get(input)!.isEnded).toBe(true)
  expect(seen.request).toMatchObject({ action: 'write', path: 'f', mode: 0o600, output: 0 })
  daemon.respond(seen.id, { size: 500_000 })
  await writing
})

test('a write whose source fails is cancelled and never ended', async () => {
  await open()
  async function* source(): AsyncGenerator<Uint8Array> {
    yield Buffer.from('half')
    throw new Error('the disk broke')
  }
  const writing = session.files.write('f', source())
  writing.catch(() => undefined)
  const seen = await daemon.nextRequest()
  await expect(writing).rejects.toThrow('the disk broke')
  await expect.poll(() => daemon.notifications).toEqual([{ op: 'cancel', request: seen.id }])
  expect(daemon.inputs.get(seen.request['input'] as number)!.isEnded).toBe(false)
  daemon.refuse(seen.id, { code: 'cancelled', message: 'x' })
})

test('a write refused early stops a source that is waiting', async () => {
  await open()
  let isClosed = false
  // Its first step never ends.
  const source: AsyncIterable<Uint8Array> = {
    [Symbol.asyncIterator]: () => ({
      next: () => new Promise(() => undefined),
      return: () => {
        isClosed = true
        return Promise.resolve({ done: true, value: undefined })
      },
    }),
  }
  const writing = session.files.write('f', source)
  writing.catch(() => undefined)
  const seen = await daemon.nextRequest()
  daemon.refuse(seen.id, { code: 'no-space', message: 'the disk is full' })
  await expect(writing).rejects.toMatchObject({ code: 'no-space', message: 'the disk is full' })
  await expect.poll(() => isClosed).toBe(true)
})

test('an aborted file call is cancelled at once; its late answer is swallowed', async () => {
  await open()
  const abort = new AbortController()
  const reading = session.files.read('f', { signal: abort.signal })
  const seen = await daemon.nextRequest()
  daemon.data(seen.request['output'] as number, 0, 'abc')
  await tick()
  abort.abort(new DOMException('late', 'TimeoutError'))
  await expect(reading).rejects.toMatchObject({ code: 'timeout' })
  await expect.poll(() => daemon.notifications).toEqual([{ op: 'cancel', request: seen.id }])
  daemon.data(seen.request['output'] as number, 3, 'def')
  daemon.refuse(seen.id, { code: 'cancelled', message: 'x' })
  const stats = session.stats()
  daemon.refuse((await daemon.nextRequest()).id, { code: 'internal', message: 'still there' })
  await expect(stats).rejects.toThrow('still there')
})

test('an archive whose bytes do not match its sha256 is refused', async () => {
  await open()
  const archiving = session.files.archive('d')
  const seen = await daemon.nextRequest()
  daemon.data(seen.request['output'] as number, 0, 'abc')
  daemon.end(seen.request['output'] as number, 3)
  daemon.respond(seen.id, { entries: 1, bytes: 3, sha256: '0'.repeat(64) })
  await expect(archiving).rejects.toMatchObject({
    code: 'protocol-error',
    message: expect.stringMatching(/arrived damaged/),
  })
})

test('keepalive ends a silent session; an answered one lives', async () => {
  await open({ keepaliveMs: 20 })
  await new Promise((resolve) => setTimeout(resolve, 150))
  await expect(session.info()).resolves.toBeDefined()
  daemon.answersPings = false
  expect(await session.closed).toMatchObject({
    code: 'connection-lost',
    message: expect.stringMatching(/silent for 40 ms/),
  })
})

test('close is idempotent, ends what waits and settles closed with nothing', async () => {
  await open()
  const stats = session.stats()
  stats.catch(() => undefined)
  await daemon.nextRequest()
  await Promise.all([session.close(), session.close()])
  expect(daemon.isClosed).toBe(true)
  await expect(stats).rejects.toMatchObject({ code: 'connection-lost', message: 'The session was closed.' })
  expect(await session.closed).toBeUndefined()
  await expect(session.spawn(['x'])).rejects.toMatchObject({ code: 'connection-lost' })
  await expect(session.files.read('x')).rejects.toMatchObject({ code: 'connection-lost' })
})

test.each([
  [[], {}, /argv must be a list that begins with a program/],
  [[''], {}, /argv must be a list/],
  [['a', 'b\0c'], {}, /argv\[1\]/],
  [['a', 5 as unknown as string], {}, /argv\[1\] must be a text/],
  [['a'], { env: { 'A=B': 'x' } }, /"A=B" cannot be the name/],
  [['a'], { env: { A: 'x\0' } }, /env\.A/],
  [['a'], { cwd: '\0' }, /cwd/],
  [['a'], { timeoutMs: 0 }, /timeoutMs must be above 0 \(got 0\)/],
  [['a'], { timeoutMs: NaN }, /timeoutMs must be above 0/],
  [['a'], { pty: { columns: 0, rows: 5 } }, /columns must be a whole number from 1 to 65535 \(got 0\)/],
])('spawn(%o, %o) is refused before anything is sent', async (argv, options, says) => {
  await open()
  await expect(session.spawn(argv, options)).rejects.toMatchObject({
    code: 'invalid-argument',
    message: expect.stringMatching(says),
  })
})
