import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import type { Server } from 'node:net'
import { join } from 'node:path'
import { buffer, text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { localMachine } from '../../src/providers/local/index.ts'
import { closeHostLinks, sshProvider } from '../../src/providers/ssh/index.ts'
import { runtimeDirectory } from '../../src/providers/ssh/runtime-directory.ts'
import { openSandbox } from '../../src/sandboxes/open-sandbox.ts'
import type { Machine } from '../../src/spec/index.ts'
import { labTarget, sshLabProblem, stateWithPins } from '../support/ssh-lab.ts'

const problem = sshLabProblem()
const home = mkdtempSync('/tmp/anyplace-ssh-test-')
const state = problem === undefined ? stateWithPins() : undefined
afterAll(async () => {
  await closeHostLinks()
  state?.remove()
  rmSync(home, { recursive: true, force: true })
})

// The lab's host is this machine, so both must see and do the same.
describe.each(['this machine', 'a host behind SSH'])('%s', (which) => {
  const isRemote = which !== 'this machine'
  const skips = isRemote && problem !== undefined
  const at = join(home, isRemote ? 'remote' : 'local')
  let machine: Machine
  beforeAll(async () => {
    mkdirSync(at)
    if (skips) return
    machine = isRemote
      ? await sshProvider(labTarget('target', { workspace: join(home, 'workspace') })).machine!()
      : localMachine()
  })
  const it = test.skipIf(skips)

  it('bytes in and out, and how it ended', async () => {
    const bytes = randomBytes(5_000_000)
    await using channel = await machine.run(['sh', '-c', 'cat; echo oops >&2; exit 7'])
    channel.stdin.end(bytes)
    const [out, said, exit] = await Promise.all([buffer(channel.stdout), text(channel.stderr), channel.exit])
    expect(out.equals(bytes)).toBe(true)
    expect(said).toBe('oops\n')
    expect(exit).toEqual({ exitCode: 7, signal: null })
  })

  it('a signal ends it', async () => {
    await using channel = await machine.run(['sh', '-c', 'kill -9 $$'])
    expect(await channel.exit).toEqual({ exitCode: null, signal: 'SIGKILL' })
  })

  it('env and cwd are as given', async () => {
    const env = { PATH: '/usr/bin:/bin', A: 'b c', E: '' }
    await using channel = await machine.run(['sh', '-c', 'pwd; echo "$A|${E-unset}|${DOCKER_HOST-unset}"'], {
      env,
      cwd: at,
    })
    channel.stdin.end()
    expect(await text(channel.stdout)).toBe(`${at}\nb c||unset\n`)
  })

  it('what cannot be started', async () => {
    writeFileSync(join(at, 'plain'), 'x', { mode: 0o644 })
    await expect(machine.run(['no-such-program-there'])).rejects.toMatchObject({ code: 'command-not-found' })
    await expect(machine.run([join(at, 'plain')])).rejects.toMatchObject({ code: 'command-not-executable' })
    await expect(machine.run(['true'], { cwd: join(at, 'nowhere') })).rejects.toMatchObject({ code: 'file-not-found' })
    await expect(machine.run([])).rejects.toMatchObject({ code: 'invalid-argument' })
    await expect(machine.run(['true'], { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'cancelled' })
  })

  it('close ends it, unless it is detached', async () => {
    for (const detached of [false, true]) {
      const mark = join(at, `alive-${detached}`)
      const channel = await machine.run(['sh', '-c', `sleep 0.5; : >${mark}; sleep 1`], { detached })
      await channel.close()
      await channel.close()
      await using wait = await machine.run(['sleep', '1'])
      await wait.exit
      expect((await machine.readFile(mark))?.byteLength).toBe(detached ? 0 : undefined)
    }
  })

  it('files', async () => {
    const file = join(at, 'made/on the way/file')
    expect(await machine.readFile(file)).toBeUndefined()
    expect(await machine.readFile(`${file}/below`)).toBeUndefined()
    expect(await machine.listDirectory(join(at, 'made'))).toEqual([])
    await machine.writeFile(file, Buffer.from('one'))
    await machine.writeFile(file, Buffer.from('two'), { mode: 0o640 })
    expect(readFileSync(file, 'utf8')).toBe('two')
    expect(statSync(file).mode & 0o777).toBe(0o640)
    expect(statSync(join(at, 'made')).mode & 0o777).toBe(0o700)
    expect(await machine.listDirectory(join(at, 'made/on the way'))).toEqual(['file'])
    expect((await machine.readFile('/proc/self/stat'))?.byteLength).toBeGreaterThan(10)
    await expect(machine.readFile(at)).rejects.toMatchObject({ code: 'is-a-directory' })
  })

  it('a directory that is there keeps its mode', async () => {
    const directory = join(at, 'shared')
    mkdirSync(directory)
    chmodSync(directory, 0o755)
    await machine.makeDirectory(directory)
    expect(statSync(directory).mode & 0o777).toBe(0o755)
    await machine.makeDirectory(directory, { mode: 0o750 })
    expect(statSync(directory).mode & 0o777).toBe(0o750)
    await machine.makeDirectory(join(directory, 'own/deep'))
    expect(statSync(join(directory, 'own')).mode & 0o777).toBe(0o700)
    await machine.remove(directory)
    await machine.remove(directory)
    expect(await machine.listDirectory(at)).not.toContain('shared')
  })

  it('a unix socket, both ways', async () => {
    const path = join(at, 'socket')
    const server = createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket)).listen(path)
    await new Promise((done) => server.once('listening', done))
    const bytes = randomBytes(3_000_000)
    const stream = await machine.connect(path)
    stream.end(bytes)
    expect((await buffer(stream)).equals(bytes)).toBe(true)
    await new Promise((done) => server.close(done))
    for (const [where, reason] of [
      [path, /no such/i],
      [join(at, 'plain'), /refused|nothing listens/i],
    ] as const)
      await expect(machine.connect(where)).rejects.toMatchObject({
        code: 'engine-unavailable',
        message: expect.stringMatching(reason) as string,
      })
  })
})

describe.skipIf(problem !== undefined)('past the host’s daemon', () => {
  const echo = async (path: string): Promise<Server> => {
    const server = createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket)).listen(path)
    await once(server, 'listening')
    return server
  }
  const machineAt = (server: 'jump' | 'target'): Promise<Machine> =>
    sshProvider(labTarget(server, { workspace: join(home, 'workspace') })).machine!()

  test('a stream to a socket is a channel of the connection, and nobody else can come that way', async () => {
    const path = join(home, 'echo.sock')
    const server = await echo(path)
    const machine = await machineAt('jump')
    const bytes = randomBytes(3_000_000)
    await machine.facts() // which connects
    const ours = async (): Promise<readonly string[]> =>
      readdirSync(await runtimeDirectory())
        .filter((name) => name.startsWith(`${process.pid.toString(36)}-`))
        .sort()
    const before = await ours()
    await Promise.all(
      Array.from({ length: 20 }, async () => {
        const stream = await machine.connectDirectly(path)
        stream!.end(bytes)
        expect((await buffer(stream!)).equals(bytes)).toBe(true)
      }),
    )
    expect(await ours()).toEqual(before)
    await expect(machine.connectDirectly(path, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'cancelled',
    })
    server.close()
  })

  test('where the server forwards none, the sandbox is reached through the host’s daemon', async () => {
    const path = join(home, 'refused.sock')
    const server = await echo(path)
    const machine = await machineAt('target')
    const stream = await machine.connectDirectly(path)
    let received = 0
    stream!.on('data', (chunk: Buffer) => (received += chunk.length))
    stream!.write('x')
    await new Promise((done) => stream!.once('close', done))
    expect(received).toBe(0)
    server.close()
    const provider = sshProvider(labTarget('target', { workspace: join(home, 'other-workspace') }))
    await using box = await openSandbox({ provider, engine: 'direct' }, { timeoutMs: 60_000 })
    expect((await box.run(['echo', 'reached'])).stdout).toBe('reached\n')
  })
})
