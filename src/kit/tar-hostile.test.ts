import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import type { Header } from 'tar-stream'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { unpackTree } from './tar.ts'
import { foreign, inChunks, packed, snapshot } from '../../test/support/tar-fixtures.ts'
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
