import { createHash, randomBytes } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { RealDaemon } from '../../test/fixtures/real-daemon.ts'
import type { Session } from '../spec/index.ts'

const daemon = new RealDaemon()
const { root } = daemon
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

describe('files of the real daemon', () => {
  test('a listing far beyond one message; odd names', async () => {
    const folder = join(root, 'work', 'many')
    mkdirSync(folder, { recursive: true })
    for (let i = 0; i < 3000; i++) writeFileSync(join(folder, `${i}-${'n'.repeat(200)}\n"é`), '')
    symlinkSync('to\u00e9"\n', join(folder, 'link'))
    const listing = await session.files.list('many', { recursive: true, maxEntries: 1e6 })
    expect(listing).toMatchObject({ total: 3001, truncated: false })
    expect(listing.entries.find(({ type }) => type === 'symlink')).toMatchObject({
      path: 'link',
      target: 'to\u00e9"\n',
    })
    expect(listing.entries[0]?.path).toBe(`0-${'n'.repeat(200)}\n"é`)
    expect(await session.files.list('many', { maxEntries: 5 })).toMatchObject({ total: 3001, truncated: true })
  })

  test('only: exactly the paths asked for, both ways', async () => {
    const source = join(root, 'work', 'only-source')
    mkdirSync(join(source, 'a/b'), { recursive: true })
    mkdirSync(join(source, 'empty'))
    for (const name of ['a/one', 'a/two', 'a/b/three', 'four']) writeFileSync(join(source, name), name)
    symlinkSync('a', join(source, 'link'))
    chmodSync(join(source, 'empty'), 0o700)
    const only = ['a/b/three', 'empty', 'four', 'link', 'gone/away', 'link/one']
    expect(await session.files.upload(source, 'only-up', { only })).toMatchObject({ files: expect.any(Number) })
    const names = ['a', 'a/b', 'a/b/three', 'empty', 'four', 'link']
    const paths = async (path: string): Promise<string[]> =>
      (await session.files.list(path, { recursive: true })).entries.map((entry) => entry.path)
    const back = join(root, 'work', 'only-back')
    expect(await session.files.download('only-source', back, { only })).toEqual({ files: 3, bytes: 13 })
    expect(await paths(back)).toEqual(names)
    expect(statSync(join(back, 'empty')).mode & 0o777).toBe(0o700)
    await expect(session.files.download('only-source', back, { only: ['../x'] })).rejects.toMatchObject({
      code: 'unsafe-archive',
    })
    await expect(session.files.upload(source, 'x', { only: ['/etc/passwd'] })).rejects.toMatchObject({ field: 'only' })
  })

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
    // Whoever gives up does not wait until the new file is gone.
    const left = async (): Promise<number> =>
      (await session.files.list()).entries.filter(({ path }) => path.startsWith('.anyplace')).length
    await expect.poll(left, { timeout: 20_000 }).toBe(0)
    expect(await session.files.readText('kept')).toBe('old')
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
