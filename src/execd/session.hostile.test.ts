import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, describe, expect, test } from 'vitest'
import { ATTACKS, STARTED } from '../../test/fixtures/attacks.ts'
import type { Scene } from '../../test/fixtures/attack.ts'
import { HostileDaemon } from '../../test/fixtures/hostile-daemon.ts'
import type { SeenRequest } from '../../test/fixtures/hostile-daemon.ts'
import { AnyplaceError } from '../spec/index.ts'
import type { Session } from '../spec/index.ts'
import { FrameType, MAGIC } from './protocol.ts'
import { runProcess } from './run-process.ts'
import { openDaemonSession } from './session.ts'

/** What each scene waits for: it must reject, never hang. */
async function begin(
  scene: Scene,
  daemon: HostileDaemon,
  session: Session,
): Promise<{ seen: SeenRequest; waits: Promise<unknown>[] }> {
  const idle: SeenRequest = { id: 0, request: { op: 'stats' } }
  const waits: Promise<unknown>[] = []
  const guard = (promise: Promise<unknown>): void => {
    promise.catch(() => undefined)
    waits.push(promise)
  }
  switch (scene) {
    case 'idle':
      return { seen: idle, waits }
    case 'spawning':
      guard(session.spawn(['x'], { stdin: 'pipe' }))
      break
    case 'running': {
      const spawning = session.spawn(['x'], { stdin: 'pipe' })
      const seen = await daemon.nextRequest()
      daemon.respond(seen.id, STARTED)
      const process = await spawning
      guard(new Response(process.stdout).arrayBuffer())
      // Only now is the process's reader there, as in real use.
      await new Promise((resolve) => setImmediate(resolve))
      return { seen, waits }
    }
    case 'reading':
      guard(session.files.read('f', { maxBytes: 100 }))
      break
    case 'listing':
      guard(session.files.list('.', { maxEntries: 10 }))
      break
    case 'processes':
      guard(session.processes())
      break
    case 'stats':
      guard(session.stats())
      break
    case 'writing':
      guard(session.files.write('f', 'content'))
  }
  return { seen: await daemon.nextRequest(), waits }
}

const problems: unknown[] = []
process.on('unhandledRejection', (reason) => problems.push(reason))
afterEach(async () => {
  await new Promise((resolve) => setImmediate(resolve))
  expect(problems.splice(0)).toEqual([])
})

describe('a daemon that breaks the protocol', () => {
  test.each(ATTACKS)('$name ($scene)', async ({ scene, act, says }) => {
    const { daemon, session } = await HostileDaemon.open()
    const { seen, waits } = await begin(scene, daemon, session)
    act(daemon, seen)
    const error = await session.closed
    expect(AnyplaceError.is(error, 'protocol-error'), String(error)).toBe(true)
    expect(error!.message).toMatch(says)
    expect(error!.message.length).toBeLessThan(2500)
    expect(daemon.isClosed).toBe(true)
    await Promise.allSettled(waits)
    // And nothing starts any more.
    await expect(session.stats()).rejects.toMatchObject({ code: 'protocol-error' })
    await session.close()
  })

  test('has enough attacks that a lost table is noticed', () => {
    expect(ATTACKS.length).toBeGreaterThan(55)
  })
})

describe('the greeting', () => {
  async function greeted(act: (daemon: HostileDaemon) => void, options = {}): Promise<AnyplaceError> {
    const daemon = new HostileDaemon()
    act(daemon)
    const error: unknown = await openDaemonSession(daemon.channel, options).then(
      () => undefined,
      (reason: unknown) => reason,
    )
    expect(AnyplaceError.is(error), String(error)).toBe(true)
    expect(daemon.isClosed).toBe(true)
    return error as AnyplaceError
  }

  test('noise before it is skipped', async () => {
    const daemon = new HostileDaemon()
    daemon.raw('Welcome!\r\n\u0001anyplace-execd\u0001 almost \u0001anyplace-execd')
    daemon.raw('\u0001anyplace-execd\u0001')
    daemon.greet()
    const session = await openDaemonSession(daemon.channel)
    expect((await session.info()).workdir).toBe('/workspace')
    await session.close()
  })

  test('endless noise is given up, and shown', async () => {
    const error = await greeted((daemon) => {
      for (let i = 0; i < 100; i++) daemon.raw(`\u001b[31mlogin banner ${'.'.repeat(1000)}\n`)
    })
    expect(error.code).toBe('protocol-error')
    expect(error.message).toMatch(/65536 bytes came before its greeting, beginning with "\[31mlogin banner/)
    expect(error.message).not.toContain('\u001b')
  })

  test('endless beginnings of a greeting are noise too', async () => {
    const error = await greeted((daemon) => daemon.raw('\u0001anyplace-execd'.repeat(10_000)))
    expect(error.message).toMatch(/65536 bytes/)
  })

  test.each([
    [{ version: 2 }, /speaks version 2 .* this client speaks version 1/, /newer Anyplace/],
    [{ version: 0 }, /speaks version 0/, /older Anyplace/],
    [{ version: 'one' }, /version is the text "one"/, /daemon/],
    [{ killLevel: 'perhaps' }, /killLevel is the text "perhaps"/, /daemon/],
    [{ workdir: null }, /workdir is null/, /daemon/],
    [{ expiresAtMs: null }, /expiresAtMs is null/, /daemon/],
  ])('a hello with %o is refused', async (fields, says, hint) => {
    const error = await greeted((daemon) => {
      daemon.raw(MAGIC)
      daemon.hello(fields)
    })
    expect(error.code).toBe('protocol-error')
    expect(error.message).toMatch(says)
    expect(error.hint).toMatch(hint)
  })

  test('another first frame is refused', async () => {
    const error = await greeted((daemon) => {
      daemon.raw(MAGIC)
      daemon.respond(1, {})
    })
    expect(error.message).toMatch(/first frame is of type 3/)
  })

  test('an end before it says how and what was printed', async () => {
    const error = await greeted((daemon) => {
      daemon.stderr('sh: 1: exec: \u001b[0mpython3: not found\n')
      daemon.hangUp({ exitCode: 127, signal: null })
    })
    expect(error.code).toBe('no-exec-daemon')
    expect(error.message).toMatch(/exit code 127.*python3: not found/)
    expect(error.message).not.toContain('\u001b')
  })

  test('silence ends with timeout, or with the signal', async () => {
    expect((await greeted(() => undefined, { handshakeTimeoutMs: 20 })).code).toBe('timeout')
    expect((await greeted(() => undefined, { signal: AbortSignal.abort() })).code).toBe('cancelled')
  })

  test('random bytes never do more than end the session', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.boolean(),
        fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 20 }),
        async (greets, chunks) => {
          const daemon = new HostileDaemon()
          if (greets) daemon.greet()
          for (const chunk of chunks) daemon.raw(chunk)
          daemon.hangUp()
          const opened = await openDaemonSession(daemon.channel).catch((error: unknown) => error)
          if (AnyplaceError.is(opened)) return
          expect(AnyplaceError.is(await (opened as Session).closed)).toBe(true)
        },
      ),
      { numRuns: 150 },
    )
  })
})

describe('what a hostile daemon says', () => {
  test('messages lose control characters and are capped; unknown codes are named', async () => {
    const { daemon, session } = await HostileDaemon.open()
    const stats = session.stats()
    daemon.refuse((await daemon.nextRequest()).id, {
      code: 'made-up\u0007',
      message: `\u001b]0;owned\u0007${'long '.repeat(5000)}\u202e`,
      hint: 'a\nb',
      data: { __proto__x: 1, firstOffset: 5, text: 'a\u001bb', deep: { x: 1 }, constructor: 'c' },
    })
    const error = (await stats.catch((reason: unknown) => reason)) as AnyplaceError
    expect(error.code).toBe('protocol-error')
    expect(error.message.length).toBeLessThan(2200)
    expect(error.message).toContain('"made-up"')
    // oxlint-disable-next-line no-control-regex -- control characters are the point
    expect(JSON.stringify(error.toJSON())).not.toMatch(/\\u00[01]|\u202e/)
    expect(error.hint).toBe('a b')
    expect(error.data).toEqual({ firstOffset: 5, text: 'a b', constructor: 'c' })
    // A refusal is no violation: the session goes on.
    const again = session.stats()
    daemon.refuse((await daemon.nextRequest()).id, { code: 'internal', message: 'no' })
    await expect(again).rejects.toMatchObject({ code: 'internal', message: 'no' })
    await session.close()
  })

  test('a flood of pings that reads no answers ends the session', async () => {
    const { daemon, session } = await HostileDaemon.open()
    const ping = Buffer.alloc(17)
    ping.writeUInt32BE(8, 0)
    ping[4] = FrameType.ping
    // The far end reads nothing: what is answered piles up with us.
    daemon.channel.stdin.cork()
    const flood = Buffer.concat(Array.from({ length: 4096 }, () => ping))
    for (let i = 0; i < 60 && !daemon.isClosed; i++) {
      daemon.raw(flood)
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(await session.closed).toMatchObject({
      code: 'protocol-error',
      message: expect.stringMatching(/reads no answers/),
    })
    await session.close()
  })

  test('pings that are read are answered', async () => {
    const { daemon, session } = await HostileDaemon.open()
    for (let i = 0; i < 100; i++) daemon.send(FrameType.ping, 0, Buffer.alloc(8, i))
    await expect.poll(() => daemon.pongs).toBe(100)
    await session.close()
  })

  test('an end in the middle of a frame is told, with the offset reached', async () => {
    const { daemon, session } = await HostileDaemon.open()
    const spawning = session.spawn(['x'])
    const seen = await daemon.nextRequest()
    daemon.respond(seen.id, STARTED)
    const process = await spawning
    const stdout = seen.request['stdout'] as number
    daemon.data(stdout, 0, 'abcdef')
    daemon.exit(seen.id, { stdoutBytes: 100 })
    daemon.rawHeader(1000, FrameType.data, stdout)
    daemon.hangUp()
    const reader = process.stdout.getReader()
    expect(Buffer.from((await reader.read()).value!).toString()).toBe('abcdef')
    await expect(reader.read()).rejects.toMatchObject({ code: 'connection-lost', data: { offset: 6 } })
    expect((await session.closed)!.message).toMatch(/in the middle of a frame/)
    // The exit itself had come.
    expect(await process.wait()).toMatchObject({ exitCode: 0 })
    await session.close()
  })

  test('run fails with the offsets reached when the connection ends before all output', async () => {
    const { daemon, session } = await HostileDaemon.open()
    const running = runProcess(session, ['x'])
    const seen = await daemon.nextRequest()
    daemon.respond(seen.id, STARTED)
    daemon.data(seen.request['stdout'] as number, 0, 'abc')
    daemon.exit(seen.id, { stdoutBytes: 100 })
    daemon.hangUp()
    await expect(running).rejects.toMatchObject({
      code: 'connection-lost',
      data: { processId: 'p1', stdoutOffset: 3, stderrOffset: 0 },
    })
    await session.close()
  })
})

describe('memory stays bounded', () => {
  test('a window full of one-byte frames costs no more than the window', async () => {
    const { daemon, session } = await HostileDaemon.open()
    const spawning = session.spawn(['x'])
    const seen = await daemon.nextRequest()
    daemon.respond(seen.id, STARTED)
    const process = await spawning
    const stdout = seen.request['stdout'] as number
    const stderr = seen.request['stderr'] as number
    const before = memory()
    for (let at = 0; at < 100_000; at++) {
      // Alternating, so that the order of lines costs what it can.
      daemon.data(stdout, at, 'x')
      daemon.data(stderr, at, 'y')
      if (at % 2000 === 0) await new Promise((resolve) => setImmediate(resolve))
    }
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(memory() - before).toBeLessThan(12 * 1024 * 1024)
    await process.detach()
    await session.close()
  })

  test('floods on streams that nobody reads stop at one window each', async () => {
    const { daemon, session } = await HostileDaemon.open()
    const before = memory()
    for (let number = 0; number < 20; number++) {
      const spawning = session.spawn(['x'])
      const seen = await daemon.nextRequest()
      daemon.respond(seen.id, { processId: `p${number}`, pid: 1 })
      await spawning
      for (let at = 0; at < 1024 * 1024; at += 65_536)
        daemon.data(seen.request['stdout'] as number, at, Buffer.alloc(65_536))
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(memory() - before).toBeLessThan(60 * 1024 * 1024)
    expect(daemon.windows.size).toBe(0)
    await session.close()
  })

  test('what nobody waits for any more is not kept', async () => {
    const { daemon, session } = await HostileDaemon.open()
    const spawning = session.spawn(['x'])
    const seen = await daemon.nextRequest()
    daemon.respond(seen.id, STARTED)
    const process = await spawning
    daemon.answersPings = false
    await process.detach()
    const before = memory()
    // Allowed until it has surely heard of the detach, which it never admits.
    for (let at = 0; at < 200; at++) {
      daemon.data(seen.request['stdout'] as number, at * 1_000_000, Buffer.alloc(1_000_000))
      await new Promise((resolve) => setImmediate(resolve))
    }
    // What is garbage goes when the collector gets to it.
    expect(memory() - before).toBeLessThan(100 * 1024 * 1024)
    await session.close()
  })
})

describe('downloads from a hostile daemon', () => {
  const evil: [string, { name: string; type: string; link?: string }][] = [
    ['an absolute name', { name: '/tmp/anyplace-escaped', type: '0' }],
    ['a name with ..', { name: '../escaped', type: '0' }],
    ['a link out', { name: 'link', type: '2', link: '../..' }],
    ['a hard link out', { name: 'link', type: '1', link: '/etc/passwd' }],
    ['a device', { name: 'device', type: '3' }],
  ]
  test.each(evil)('%s is refused and nothing is written outside', async (_name, entry) => {
    const root = mkdtempSync(join(tmpdir(), 'anyplace-hostile-'))
    try {
      const { daemon, session } = await HostileDaemon.open()
      const download = session.files.download('tree', join(root, 'target'))
      download.catch(() => undefined)
      const stat = await daemon.nextRequest()
      daemon.respond(stat.id, { path: 'tree', type: 'directory', size: 0, mode: 0o755, mtimeMs: 0, uid: 0, gid: 0 })
      const pack = await daemon.nextRequest()
      expect(pack.request).toMatchObject({ op: 'files', action: 'pack' })
      const tar = Buffer.concat([tarHeader(entry), Buffer.alloc(1024)])
      daemon.data(pack.request['output'] as number, 0, tar)
      await expect(download).rejects.toMatchObject({ code: 'unsafe-archive' })
      // The daemon is told, and may answer late.
      await expect.poll(() => daemon.notifications).toContainEqual({ op: 'cancel', request: pack.id })
      daemon.refuse(pack.id, { code: 'cancelled', message: 'x' })
      expect(readdirSync(root)).toEqual(['target'])
      expect(readdirSync(join(root, 'target'))).toEqual([])
      await session.close()
      expect(await session.closed).toBeUndefined()
    } finally {
      rmSync(root, { recursive: true })
    }
  })
})

function tarHeader(entry: { name: string; type: string; link?: string }): Uint8Array {
  const header = Buffer.alloc(512)
  header.write(entry.name, 0)
  header.write('0000644\0', 100)
  header.write('0000000\0', 108)
  header.write('0000000\0', 116)
  header.write('00000000000\0', 124)
  header.write('00000000000\0', 136)
  header.write('        ', 148)
  header.write(entry.type, 156)
  if (entry.link !== undefined) header.write(entry.link, 157)
  header.write('ustar\u000000', 257)
  const sum = header.reduce((total, byte) => total + byte, 0)
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
  return header
}

function memory(): number {
  globalThis.gc?.()
  const { heapUsed, external, arrayBuffers } = process.memoryUsage()
  return heapUsed + Math.max(external, arrayBuffers)
}
