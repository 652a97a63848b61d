import { execFileSync } from 'node:child_process'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { pack as foreignPack } from 'tar-stream'
import type { Header } from 'tar-stream'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { packTree, unpackTree } from './tar.ts'
import { encodeTarHeader } from './tar-header.ts'

const folder = fs.mkdtempSync(join(tmpdir(), 'tar-'))
const source = join(folder, 'source')
const target = join(folder, 'inner', 'target')
afterAll(() => {
  fs.rmSync(folder, { recursive: true, force: true })
})
beforeEach(() => {
  fs.rmSync(source, { recursive: true, force: true })
  fs.rmSync(join(folder, 'inner'), { recursive: true, force: true })
  fs.mkdirSync(source)
})

async function packed(path: string, options: Parameters<typeof packTree>[1] = {}): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of packTree(path, options).stream) chunks.push(chunk as Uint8Array)
  return Buffer.concat(chunks)
}

async function* inChunks(bytes: Uint8Array, size = 1000): AsyncGenerator<Uint8Array> {
  for (let offset = 0; offset < bytes.length; offset += size) yield bytes.subarray(offset, offset + size)
}

/** An archive by another implementation, of entries that no honest packer makes. */
async function foreign(entries: readonly [Partial<Header>, string?][]): Promise<Buffer> {
  const pack = foreignPack()
  for (const [header, body] of entries) pack.entry(header as Header, body ?? '')
  pack.finalize()
  const chunks: Uint8Array[] = []
  for await (const chunk of pack) chunks.push(chunk as Uint8Array)
  return Buffer.concat(chunks)
}

/** Every path below a root with type, mode, bytes or target, and (for files and directories) time. */
function snapshot(root: string, prefix = ''): Record<string, unknown> {
  const seen: Record<string, unknown> = {}
  const below = (path: string): Buffer => Buffer.from(`${Buffer.from(root).toString('latin1')}/${path}`, 'latin1')
  for (const name of fs.readdirSync(below(prefix), { encoding: 'latin1' }).sort()) {
    const path = prefix + name
    const stats = fs.lstatSync(below(path))
    const facts = [stats.mode.toString(8), Math.floor(stats.mtimeMs / 1000)]
    if (stats.isDirectory()) {
      seen[path] = facts
      Object.assign(seen, snapshot(root, `${path}/`))
    } else if (stats.isSymbolicLink()) seen[path] = fs.readlinkSync(below(path), 'latin1')
    else seen[path] = [...facts, fs.readFileSync(below(path), 'latin1')]
  }
  return seen
}

function plant(): void {
  fs.mkdirSync(join(source, 'a/b'), { recursive: true })
  fs.writeFileSync(join(source, 'a/file'), 'hello')
  fs.writeFileSync(join(source, 'a/empty'), '')
  fs.writeFileSync(join(source, '-rf'), 'dash')
  fs.writeFileSync(join(source, 'quote\' "$(id)\n'), 'odd')
  fs.writeFileSync(join(source, 'ünï'), 'utf-8')
  fs.writeFileSync(Buffer.concat([Buffer.from(`${source}/bad-`), Buffer.of(0xff, 0xfe)]), 'not utf-8')
  fs.writeFileSync(join(source, 'a', 'n'.repeat(200)), 'long')
  fs.writeFileSync(join(source, 'run.sh'), '#!/bin/sh\n', { mode: 0o755 })
  fs.writeFileSync(join(source, 'block'), Buffer.alloc(512, 1))
  fs.writeFileSync(join(source, 'small-limit'), Buffer.alloc(64 * 1024, 2))
  fs.writeFileSync(join(source, 'big'), Buffer.alloc(700_001, 3))
  fs.symlinkSync('../a/file', join(source, 'a/link'))
  fs.symlinkSync('nowhere', join(source, 'dangling'))
  fs.symlinkSync('t'.repeat(150), join(source, 'long-link'))
  fs.utimesSync(join(source, 'a/file'), 1_000_000_000, 1_000_000_000)
  fs.chmodSync(join(source, 'a/b'), 0o550)
  fs.utimesSync(join(source, 'a/b'), 1_100_000_000, 1_100_000_000)
  fs.utimesSync(join(source, 'a'), 1_200_000_000, 1_200_000_000)
}

describe('a tree', () => {
  test('arrives as it was, whatever the chunks', async () => {
    plant()
    const archive = await packed(source)
    for (const size of [7, 512, 100_000, archive.length]) {
      fs.rmSync(target, { recursive: true, force: true })
      const moved = await unpackTree(inChunks(archive, size), target, { asFile: false })
      expect(snapshot(target)).toEqual(snapshot(source))
      expect(moved.files).toBe(14)
    }
    // And once more over itself.
    await unpackTree(inChunks(archive), target, { asFile: false })
    expect(snapshot(target)).toEqual(snapshot(source))
  })

  test('random trees arrive as they were', async () => {
    const name = fc.oneof(
      fc.constantFrom('a', 'b', '-x', 'x'.repeat(120), 'é', '...', ' '),
      fc.string({ minLength: 1, maxLength: 20 }).filter((text) => !/[/\0]/.test(text) && text !== '.' && text !== '..'),
    )
    const tree = fc.dictionary(
      fc.array(name, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/')),
      fc.nat(3000),
    )
    await fc.assert(
      fc.asyncProperty(tree, fc.integer({ min: 1, max: 5000 }), async (files, size) => {
        fs.rmSync(source, { recursive: true, force: true })
        fs.rmSync(target, { recursive: true, force: true })
        fs.mkdirSync(source)
        for (const [path, bytes] of Object.entries(files)) {
          try {
            fs.mkdirSync(join(source, path, '..'), { recursive: true })
            fs.writeFileSync(join(source, path), Buffer.alloc(bytes, path))
          } catch {
            // A file is where this one wants a directory.
          }
        }
        await unpackTree(inChunks(await packed(source), size), target, { asFile: false })
        expect(snapshot(target)).toEqual(snapshot(source))
      }),
      { numRuns: 25 },
    )
  })

  test('the tar program and Python read what we pack', async () => {
    plant()
    const archive = await packed(source)
    fs.mkdirSync(target, { recursive: true })
    execFileSync('tar', ['-xpf', '-', '-C', target], { input: archive })
    expect(snapshot(target)).toEqual(snapshot(source))
    const script =
      'import sys,tarfile,io\nt=tarfile.open(fileobj=io.BytesIO(sys.stdin.buffer.read()))\n' +
      'print("\\n".join(sorted(ascii(m.name) for m in t)))'
    const names = execFileSync('python3', ['-S', '-E', '-c', script], { input: archive, encoding: 'utf8' })
    expect(names).toContain("'bad-\\udcff\\udcfe'")
    expect(names).toContain(`'a/${'n'.repeat(200)}'`)
  })

  test('we read what the tar program and Python pack', async () => {
    plant()
    fs.chmodSync(join(source, 'run.sh'), 0o4755)
    for (const format of ['gnu', 'pax', 'ustar']) {
      const exclude = format === 'ustar' ? ['--exclude=n*', '--exclude=long-link'] : []
      const archive = execFileSync('tar', ['-cf', '-', `--format=${format}`, ...exclude, '-C', source, '.'])
      fs.rmSync(target, { recursive: true, force: true })
      await unpackTree(inChunks(archive), target, { asFile: false })
      const expected = snapshot(source)
      ;(expected['run.sh'] as string[])[0] = '100755'
      if (format === 'ustar') {
        delete expected[`a/${'n'.repeat(200)}`]
        delete expected['long-link']
      }
      expect(snapshot(target), format).toEqual(expected)
    }
    const script =
      'import sys,tarfile\nt=tarfile.open(fileobj=sys.stdout.buffer,mode="w|",format=tarfile.PAX_FORMAT)\nt.add(sys.argv[1],".")\nt.close()'
    const archive = execFileSync('python3', ['-S', '-E', '-c', script, source])
    fs.rmSync(target, { recursive: true, force: true })
    await unpackTree(inChunks(archive), target, { asFile: false })
    expect(Object.keys(snapshot(target))).toEqual(Object.keys(snapshot(source)))
  })

  test('exclude leaves out whole paths, and progress only grows', async () => {
    plant()
    const seen: number[] = []
    const { stream, result } = packTree(source, {
      exclude: ['a/b', './a/file/', 'bi'],
      onProgress: ({ bytes }) => seen.push(bytes),
    })
    await unpackTree(stream, target, { asFile: false })
    expect(fs.existsSync(join(target, 'a/b'))).toBe(false)
    expect(fs.existsSync(join(target, 'a/file'))).toBe(false)
    expect(fs.existsSync(join(target, 'big'))).toBe(true)
    expect(seen).toEqual([...seen].sort((first, second) => first - second))
    expect(seen.at(-1)).toBe((await result).bytes)
    for (const bad of ['/etc', '..', 'a/../b', '']) {
      expect(() => packTree(source, { exclude: [bad] })).toThrow(expect.objectContaining({ field: 'exclude' }))
    }
  })

  test('sockets and pipes are left out', async () => {
    execFileSync('mkfifo', [join(source, 'pipe')])
    fs.writeFileSync(join(source, 'file'), 'x')
    await unpackTree(packTree(source).stream, target, { asFile: false })
    expect(fs.readdirSync(target)).toEqual(['file'])
  })

  test('a single file becomes the named file, also over a link', async () => {
    const file = join(source, 'data')
    fs.writeFileSync(file, 'content', { mode: 0o640 })
    const { stream, result } = packTree(file)
    fs.mkdirSync(target, { recursive: true })
    fs.writeFileSync(join(folder, 'inner', 'victim'), 'safe')
    fs.symlinkSync('../victim', join(target, 'other'))
    expect(await unpackTree(stream, join(target, 'other'), { asFile: true, sync: true })).toEqual({
      files: 1,
      bytes: 7,
    })
    expect(await result).toEqual({ files: 1, bytes: 7, isDirectory: false })
    expect(fs.readFileSync(join(target, 'other'), 'utf8')).toBe('content')
    expect(fs.lstatSync(join(target, 'other')).mode & 0o777).toBe(0o640)
    expect(fs.readFileSync(join(folder, 'inner', 'victim'), 'utf8')).toBe('safe')
  })

  test('a file that grows or shrinks while it is read is told', async () => {
    for (const size of [300_000, 100_000]) {
      const file = join(source, 'log')
      fs.writeFileSync(file, Buffer.alloc(200_000))
      const { stream, result } = packTree(file, {
        onProgress: () => {
          fs.truncateSync(file, size)
        },
      })
      await expect(unpackTree(stream, target, { asFile: true })).rejects.toMatchObject({ code: 'conflict' })
      await expect(result).rejects.toMatchObject({ code: 'conflict', data: { path: file } })
      expect(fs.existsSync(join(folder, 'inner')) ? fs.readdirSync(join(folder, 'inner')) : []).toEqual([])
    }
  })

  test('a missing root says so, and a stream that is dropped settles the result', async () => {
    const missing = packTree(join(source, 'missing'))
    await expect(packed(join(source, 'missing'))).rejects.toMatchObject({ code: 'file-not-found' })
    missing.stream.on('error', () => {})
    missing.stream.destroy()
    await expect(missing.result).rejects.toMatchObject({ code: 'cancelled' })
  })
})

describe('a hostile archive', () => {
  const outside = (): unknown => [fs.readdirSync(folder), fs.readdirSync(join(folder, 'inner')), snapshot(source)]
  beforeEach(() => {
    fs.mkdirSync(target, { recursive: true })
  })

  const cases: [string, [Partial<Header>, string?][], string][] = [
    ['absolute name', [[{ name: '/etc/evil' }, 'x']], '/etc/evil'],
    ['name that leads up', [[{ name: '../evil' }, 'x']], '../evil'],
    ['name that leads up inside', [[{ name: 'a/../../evil' }, 'x']], 'a/../../evil'],
    ['directory that leads up', [[{ name: '../evil/', type: 'directory' }]], '../evil/'],
    ['link to an absolute path', [[{ name: 'l', type: 'symlink', linkname: '/etc/passwd' }]], 'l'],
    ['link that leads up', [[{ name: 'd/l', type: 'symlink', linkname: '../../evil' }]], 'd/l'],
    ['link up behind a link', [[{ name: 'd/l', type: 'symlink', linkname: 'x/../..' }]], 'd/l'],
    [
      'file under a link of the archive',
      [[{ name: 'd', type: 'symlink', linkname: 'e' }], [{ name: 'e/', type: 'directory' }], [{ name: 'd/f' }, 'x']],
      'd/f',
    ],
    ['hard link to an absolute path', [[{ name: 'h', type: 'link', linkname: '/etc/passwd' }]], 'h'],
    ['hard link that leads up', [[{ name: 'h', type: 'link', linkname: '../secret' }]], 'h'],
    [
      'hard link to a link',
      [[{ name: 's', type: 'symlink', linkname: 'e' }], [{ name: 'h', type: 'link', linkname: 's' }]],
      'h',
    ],
    ['pipe', [[{ name: 'p', type: 'fifo' }]], 'p'],
    ['device', [[{ name: 'c', type: 'character-device', devmajor: 1, devminor: 3 }]], 'c'],
    ['block device', [[{ name: 'b', type: 'block-device', devmajor: 8 }]], 'b'],
    ['root as a file', [[{ name: './', type: 'symlink', linkname: 'x' }]], ''],
    ['pax name that leads up', [[{ name: 'ok', pax: { path: '../évil' } }, 'x']], '../évil'],
    ['pax link that leads up', [[{ name: 'l', type: 'symlink', linkname: 'x', pax: { linkpath: '/etc' } }]], 'l'],
    ['sparse file', [[{ name: 'sparse', pax: { 'GNU.sparse.realsize': '1000000000000' } }, 'x']], 'sparse'],
  ]

  test.each(cases)('%s is refused and named', async (_title, entries, named) => {
    const before = outside()
    const archive = await foreign(entries)
    const failure = unpackTree(inChunks(archive), target, { asFile: false })
    await expect(failure).rejects.toMatchObject({ code: 'unsafe-archive', data: { entry: named } })
    await expect(failure).rejects.toThrow(JSON.stringify(named))
    expect(outside()).toEqual(before)
  })

  test('no link that is in the target is followed', async () => {
    fs.mkdirSync(target, { recursive: true })
    const victim = join(folder, 'inner', 'victim')
    fs.mkdirSync(victim)
    fs.writeFileSync(join(victim, 'file'), 'safe')
    fs.symlinkSync('../victim', join(target, 'd'))
    fs.symlinkSync('../victim/file', join(target, 'f'))
    for (const entries of [
      [[{ name: 'd/file' }, 'evil']],
      [[{ name: 'd/new/deeper' }, 'evil']],
      [[{ name: 'd/', type: 'directory', mode: 0o777 }]],
      [[{ name: 'h', type: 'link', linkname: 'd/file' }]],
      [[{ name: 'd/l', type: 'symlink', linkname: 'x' }]],
    ] as [Partial<Header>, string?][][]) {
      const archive = await foreign(entries)
      const failure = unpackTree(inChunks(archive), target, { asFile: false })
      await expect(failure).rejects.toMatchObject({ code: 'unsafe-archive' })
    }
    // A link at the end of the path is replaced.
    await unpackTree(inChunks(await foreign([[{ name: 'f' }, 'new']])), target, { asFile: false })
    expect(fs.lstatSync(join(target, 'f')).isFile()).toBe(true)
    expect(fs.readdirSync(victim)).toEqual(['file'])
    expect(fs.readFileSync(join(victim, 'file'), 'utf8')).toBe('safe')
  })

  test('set-id and sticky bits are dropped', async () => {
    const entries: [Partial<Header>, string?][] = [
      [{ name: 'd/', type: 'directory', mode: 0o7777 }],
      [{ name: 'd/f', mode: 0o6755 }, 'x'],
    ]
    await unpackTree(inChunks(await foreign(entries)), target, { asFile: false })
    expect(fs.statSync(join(target, 'd')).mode & 0o7777).toBe(0o777)
    expect(fs.statSync(join(target, 'd/f')).mode & 0o7777).toBe(0o755)
  })

  test('a later entry replaces a file, a link or an empty directory, and nothing that holds files', async () => {
    const entries: [Partial<Header>, string?][] = [
      [{ name: 'f' }, 'one'],
      [{ name: 'f' }, 'two'],
      [{ name: 'd/', type: 'directory' }],
      [{ name: 'd', type: 'symlink', linkname: 'f' }],
      [{ name: 'h', type: 'link', linkname: 'f' }],
      [{ name: 'h', type: 'link', linkname: 'f' }],
    ]
    await unpackTree(inChunks(await foreign(entries)), target, { asFile: false })
    expect(fs.readdirSync(target)).toEqual(['d', 'f', 'h'])
    expect(fs.readFileSync(join(target, 'd'), 'utf8')).toBe('two')
    for (const [first, second, code] of [
      [{ name: 'x/file' }, { name: 'x' }, 'is-a-directory'],
      [{ name: 'y' }, { name: 'y/file' }, 'not-a-directory'],
    ] as const) {
      const archive = await foreign([
        [{ ...first }, 'x'],
        [{ ...second }, 'x'],
      ])
      await expect(unpackTree(inChunks(archive), target, { asFile: false })).rejects.toMatchObject({ code })
    }
    expect(fs.readdirSync(target).filter((name) => name.startsWith('.anyplace'))).toEqual([])
  })

  test('a directory that became a link is not written through', async () => {
    const entries: [Partial<Header>, string?][] = [
      [{ name: 'e/', type: 'directory' }],
      [{ name: 'd/', type: 'directory' }],
      [{ name: 'd', type: 'symlink', linkname: 'e' }],
      [{ name: 'd/f' }, 'x'],
    ]
    const failure = unpackTree(inChunks(await foreign(entries)), target, { asFile: false })
    await expect(failure).rejects.toMatchObject({ code: 'unsafe-archive', data: { entry: 'd/f' } })
    expect(fs.readdirSync(join(target, 'e'))).toEqual([])
  })

  test('one file means one file', async () => {
    const link = await foreign([[{ name: 'l', type: 'symlink', linkname: 'x' }]])
    const two = await foreign([
      [{ name: 'a' }, '1'],
      [{ name: 'b' }, '2'],
    ])
    for (const archive of [link, two]) {
      await expect(unpackTree(inChunks(archive), target, { asFile: true })).rejects.toMatchObject({
        code: 'unsafe-archive',
      })
    }
    await expect(unpackTree(inChunks(await foreign([])), target, { asFile: true })).rejects.toMatchObject({
      code: 'protocol-error',
    })
  })

  test('damage, a cut and senseless sizes are told', async () => {
    const archive = await foreign([[{ name: 'f' }, 'x'.repeat(3000)]])
    for (const length of [0, 100, 512, 2000, 3072]) {
      const failure = unpackTree(inChunks(archive.subarray(0, length)), target, { asFile: false })
      await expect(failure, `${length}`).rejects.toMatchObject({ code: 'protocol-error' })
    }
    const damaged = Buffer.from(archive)
    damaged[3] = 1
    await expect(unpackTree(inChunks(damaged), target, { asFile: false })).rejects.toMatchObject({
      code: 'protocol-error',
    })
    const fields = { type: '0', name: 'f', linkName: '', mode: 0o644, modifiedSeconds: 0 }
    for (const sizeBytes of [2 ** 60, -5, 2 ** 40]) {
      const huge = Buffer.concat([encodeTarHeader({ ...fields, sizeBytes }), Buffer.alloc(1024)])
      await expect(unpackTree(inChunks(huge), target, { asFile: false })).rejects.toMatchObject({
        code: 'protocol-error',
      })
    }
    expect(fs.readdirSync(target)).toEqual([])
    // The file is whole, yet nobody knows what should have followed.
    await expect(unpackTree(inChunks(archive.subarray(0, 3584)), target, { asFile: false })).rejects.toThrow('cut off')
  })

  test('bombs of entries, headers and trailing bytes are stopped', async () => {
    const many = await foreign(Array.from({ length: 50 }, (_, index) => [{ name: `f${index}` }, 'x']))
    await expect(unpackTree(inChunks(many), target, { asFile: false, maxEntries: 49 })).rejects.toMatchObject({
      code: 'resource-exhausted',
    })
    expect((await unpackTree(inChunks(many), target, { asFile: false, maxEntries: 50 })).files).toBe(50)
    async function* endless(piece: Uint8Array): AsyncGenerator<Uint8Array> {
      for (;;) yield piece
    }
    const extension = encodeTarHeader({ type: 'x', name: 'x', linkName: '', sizeBytes: 0, mode: 0, modifiedSeconds: 0 })
    await expect(unpackTree(endless(extension), target, { asFile: false, maxEntries: 1000 })).rejects.toMatchObject({
      code: 'resource-exhausted',
    })
    await expect(unpackTree(endless(new Uint8Array(65_536)), target, { asFile: false })).rejects.toMatchObject({
      code: 'protocol-error',
    })
    const deep = await foreign([[{ name: `${'d/'.repeat(3000)}f` }, 'x']])
    await expect(unpackTree(inChunks(deep), target, { asFile: false })).rejects.toMatchObject({
      code: 'unsafe-archive',
    })
  })

  test('random bytes never crash and never write outside', async () => {
    const archive = await foreign([
      [{ name: 'a/f' }, 'x'.repeat(600)],
      [{ name: 'a/l', type: 'symlink', linkname: 'f' }],
      [{ name: 'é'.repeat(90) }, 'y'],
    ])
    const before = outside()
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(archive.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }),
        async (edits) => {
          const changed = Buffer.from(archive)
          for (const [offset, byte] of edits) changed[offset] = byte
          repairChecksums(changed)
          await unpackTree(inChunks(changed, 4096), target, { asFile: false }).catch((error: unknown) => {
            expect(error).toMatchObject({ name: 'AnyplaceError' })
            expect(error).not.toMatchObject({ code: 'internal' })
          })
        },
      ),
      { numRuns: 300 },
    )
    expect(outside()).toEqual(before)
  })

  test('a signal ends the wait for a source that is stuck', async () => {
    const controller = new AbortController()
    async function* stuck(): AsyncGenerator<Uint8Array> {
      yield new Uint8Array(0)
      setImmediate(() => {
        controller.abort()
      })
      await new Promise(() => {})
    }
    const failure = unpackTree(stuck(), target, { asFile: false, signal: controller.signal })
    await expect(failure).rejects.toMatchObject({ code: 'cancelled' })
    await expect(packed(source, { signal: controller.signal })).rejects.toMatchObject({ code: 'cancelled' })
  })
})

/** Makes every block that looks like a header valid again, so that the fault behind the checksum is reached. */
function repairChecksums(archive: Buffer): void {
  for (let offset = 0; offset < archive.length; offset += 512) {
    if (archive.toString('latin1', offset + 257, offset + 262) !== 'ustar') continue
    archive.fill(0x20, offset + 148, offset + 156)
    let sum = 0
    for (let index = 0; index < 512; index++) sum += archive[offset + index]!
    archive.write(sum.toString(8).padStart(6, '0') + '\0 ', offset + 148, 'latin1')
  }
}
