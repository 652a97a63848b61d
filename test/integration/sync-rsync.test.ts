import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { localProvider } from '../../src/providers/local/index.ts'
import { openSandbox } from '../../src/sandboxes/open-sandbox.ts'
import type { Sandbox } from '../../src/sandboxes/sandbox.ts'
import { unsafe } from '../../src/sandboxes/sync/rsync-versions.ts'
import { Sync } from '../../src/sandboxes/sync/sync.ts'
import type { Channel, Session } from '../../src/spec/index.ts'

test.each([
  ['rsync  version 3.5.0  protocol version 32', undefined],
  ['rsync  version v3.4.3  protocol version 32', undefined],
  ['rsync  version 3.4.3pre1  protocol version 32', /3\.4\.3; 3\.4\.3 is the first/],
  ['rsync  version 3.4.1  protocol version 32', /is 3\.4\.1; 3\.4\.3/],
  ['rsync  version 2.6.9  protocol version 29', /is 2\.6\.9/],
  ['openrsync: protocol version 29\nrsync version 2.6.9 compatible', /no rsync/],
  ['', /no rsync/],
])('%j', (output, why) => {
  const told = unsafe(output, [3, 4, 3], 'here')
  if (why === undefined) expect(told).toBeUndefined()
  else expect(told).toMatch(why)
})

/** The same object with other members. */
function instead<T extends object>(real: T, members: Partial<T>): T {
  return new Proxy(real, {
    get(target, key) {
      if (Object.hasOwn(members, key)) return members[key as keyof T]
      const value: unknown = Reflect.get(target, key, target)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
}

function version(): string {
  try {
    return execFileSync('rsync', ['--version'], { encoding: 'utf8' })
  } catch {
    return ''
  }
}
const missing = unsafe(version(), [3, 4, 3], 'on this machine')

describe.skipIf(missing !== undefined)(`by rsync${missing === undefined ? '' : ` (${missing})`}`, () => {
  const home = mkdtempSync(join(tmpdir(), 'anyplace-rsync-home-'))
  const BIG = 12_000_000
  let box: Sandbox
  let root: string
  let channel: Channel | undefined
  /** Bytes of the far rsync, both ways. */
  let wire = 0
  let onWire: (() => void) | undefined

  beforeAll(async () => {
    const real = localProvider({ engine: 'direct', stateDirectory: home })
    const open = async (request: Parameters<typeof real.open>[0]) => {
      const host = await real.open(request)
      const connect = host.connect.bind(host)
      host.connect = async (options) => (channel = await connect(options))
      return host
    }
    box = await openSandbox({ provider: { ...real, open } }, {})
  })
  afterAll(async () => {
    await box.close()
    rmSync(home, { recursive: true, force: true })
  }, 20_000)
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'anyplace-rsync-'))
    wire = 0
    onWire = undefined
  })
  afterEach(async () => {
    await box.files.remove('t', { recursive: true, force: true })
    rmSync(root, { recursive: true, force: true })
  })

  /** The sandbox's session; counts what a process is sent and says. */
  function counted(): Session {
    const through = (): TransformStream<Uint8Array, Uint8Array> =>
      new TransformStream({
        transform(chunk, controller) {
          wire += chunk.byteLength
          onWire?.()
          controller.enqueue(chunk)
        },
      })
    const spawn: Session['spawn'] = async (argv, options) => {
      const real = await box.session.spawn(argv, options)
      if (real.stdin === undefined) return real
      const sent = through()
      sent.readable.pipeTo(real.stdin).catch(() => undefined)
      return instead(real, { stdin: sent.writable, stdout: real.stdout.pipeThrough(through()) })
    }
    return instead(box.session, { spawn })
  }

  function plant(): string {
    const folder = join(root, 'source')
    mkdirSync(join(folder, 'in'), { recursive: true })
    writeFileSync(join(folder, 'big'), Buffer.alloc(BIG, 'abcdefghij'))
    writeFileSync(join(folder, 'in/-odd \'name" $(id) é\\'), Buffer.alloc(BIG, 'klmnop'))
    writeFileSync(join(folder, 'small'), 's')
    return folder
  }

  function touch(folder: string): void {
    for (const name of ['big', 'in/-odd \'name" $(id) é\\']) {
      const bytes = readFileSync(join(folder, name))
      bytes.write('CHANGED', BIG / 2)
      writeFileSync(join(folder, name), bytes)
      chmodSync(join(folder, name), 0o4751)
      utimesSync(join(folder, name), 1, 1_500_000_000)
    }
    writeFileSync(join(folder, 'new'), 'n')
  }

  function look(folder: string): string {
    const script = 'find . -type f -printf "%p %m %Ts\\n" | sort; find . -type f -print0 | sort -z | xargs -0 sha256sum'
    return execFileSync('sh', ['-c', script], {
      cwd: folder,
      encoding: 'utf8',
      env: { ...process.env, LC_ALL: 'C' },
    }).replaceAll(' 4751 ', ' 751 ')
  }

  test('what changed in large files moves as differences, both ways; the same tree as by tar', async () => {
    const folder = plant()
    const sync = new Sync(counted(), true)
    expect(await sync.up(folder, 't')).toMatchObject({ files: 3, byRsync: 0 })
    const back = join(root, 'back')
    await sync.down('t', back)
    touch(folder)
    const up = await sync.up(folder, 't')
    expect(up).toMatchObject({ files: 3, bytes: 2 * BIG + 1, byRsync: 2, unchanged: 1 })
    expect(wire).toBeGreaterThan(0)
    expect(wire).toBeLessThan(BIG / 10)
    wire = 0
    expect(await sync.down('t', back)).toMatchObject({ files: 3, byRsync: 2 })
    expect(wire).toBeLessThan(BIG / 10)
    expect(look(back)).toBe(look(folder))
    expect(lstatSync(join(back, 'big')).mode & 0o7777).toBe(0o751)
    expect(readdirSync(back).sort()).toEqual(['big', 'in', 'new', 'small'])
    for (const again of [await sync.up(folder, 't'), await sync.down('t', back)]) expect(again.changes).toEqual([])
    const other = join(root, 'other')
    await box.sync.down('t', other, { method: 'tar' })
    expect(look(other)).toBe(look(folder))
  })

  test('on this machine whole files are faster, so it is used when asked for only', async () => {
    const folder = plant()
    await box.sync.up(folder, 't')
    touch(folder)
    expect(await box.sync.up(folder, 't', { method: 'rsync', dryRun: true })).toMatchObject({ files: 3, byRsync: 0 })
    expect(await box.sync.up(folder, 't')).toMatchObject({ byRsync: 0 })
    writeFileSync(join(folder, 'small'), 'other')
    expect(await box.sync.up(folder, 't', { method: 'rsync' })).toMatchObject({ files: 1, byRsync: 1 })
    await expect(box.sync.up(folder, 't', { method: 'scp' as never })).rejects.toMatchObject({ field: 'method' })
  })

  test.each(['up', 'down'] as const)('%s: a link that drops, a cancel; then again', async (direction) => {
    const folder = plant()
    const back = join(root, 'back')
    const sync = new Sync(counted(), true)
    await sync.up(folder, 't')
    await sync.down('t', back)
    const run = (signal?: AbortSignal) =>
      direction === 'up' ? sync.up(folder, 't', { signal }) : sync.down('t', back, { signal })
    const spoil = (): void => {
      for (const name of ['big', 'in/-odd \'name" $(id) é\\']) {
        writeFileSync(join(folder, name), Buffer.alloc(BIG, Math.random().toString()))
      }
    }
    spoil()
    if (direction === 'down') await box.sync.up(folder, 't', { method: 'tar' })
    onWire = () => {
      if (wire > 200_000) void channel?.close()
    }
    await expect(run()).rejects.toMatchObject({ code: 'connection-lost' })
    onWire = undefined
    const stop = new AbortController()
    onWire = () => stop.abort()
    await expect(run(stop.signal)).rejects.toMatchObject({ code: 'cancelled' })
    onWire = undefined
    await run()
    await sync.down('t', back)
    expect(look(back)).toBe(look(folder))
    expect(readdirSync(back).sort()).toEqual(['big', 'in', 'small'])
    expect((await box.processes()).filter(({ state }) => state === 'running')).toEqual([])
  })

  test('a far end that is no rsync, and one that says much', async () => {
    const folder = plant()
    const back = join(root, 'back')
    await box.sync.up(folder, 't')
    await box.sync.down('t', back)
    const before = look(back)
    await box.run(['sh', '-c', 'printf x >> t/big'], { check: true })
    for (const text of [
      'echo hello; cat >/dev/null',
      'exit 3',
      'head -c 3000000 /dev/urandom',
      'printf "\\040\\0\\0\\0"; exec yes',
    ]) {
      const session = instead(box.session, {
        spawn: (argv, options) => box.session.spawn(argv[1] === '--server' ? ['sh', '-c', text] : argv, options),
      })
      await expect(new Sync(session, true).down('t', back), text).rejects.toMatchObject({ code: 'protocol-error' })
      expect(look(back)).toBe(before)
      expect(readdirSync(back).sort()).toEqual(['big', 'in', 'small'])
    }
  })

  test('a place without rsync: asked for it is an error, else tar does it', async () => {
    const provider = localProvider({ engine: 'direct', stateDirectory: home })
    await using bare = await openSandbox({ provider }, { env: { PATH: '/nowhere' } })
    const folder = plant()
    await bare.sync.up(folder, 't')
    touch(folder)
    await expect(bare.sync.up(folder, 't', { method: 'rsync' })).rejects.toMatchObject({
      code: 'unsupported',
      field: 'method',
    })
    expect(await new Sync(bare.session, true).up(folder, 't')).toMatchObject({ files: 3, byRsync: 0 })
  })
})
