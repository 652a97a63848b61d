import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { packTree, unpackTree } from './tar.ts'
import { inChunks, packed, snapshot } from '../../test/support/tar-fixtures.ts'

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
    const { chunks, result } = packTree(source, {
      exclude: ['a/b', './a/file/', 'bi'],
      onProgress: ({ bytes }) => seen.push(bytes),
    })
    await unpackTree(chunks, target, { asFile: false })
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
    await unpackTree(packTree(source).chunks, target, { asFile: false })
    expect(fs.readdirSync(target)).toEqual(['file'])
  })

  test('a single file becomes the named file, also over a link', async () => {
    const file = join(source, 'data')
    fs.writeFileSync(file, 'content', { mode: 0o640 })
    const { chunks, result } = packTree(file)
    fs.mkdirSync(target, { recursive: true })
    fs.writeFileSync(join(folder, 'inner', 'victim'), 'safe')
    fs.symlinkSync('../victim', join(target, 'other'))
    expect(await unpackTree(chunks, join(target, 'other'), { asFile: true, sync: true })).toEqual({
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
      const { chunks, result } = packTree(file, {
        onProgress: () => {
          fs.truncateSync(file, size)
        },
      })
      await expect(unpackTree(chunks, target, { asFile: true })).rejects.toMatchObject({ code: 'conflict' })
      await expect(result).rejects.toMatchObject({ code: 'conflict', data: { path: file } })
      expect(fs.existsSync(join(folder, 'inner')) ? fs.readdirSync(join(folder, 'inner')) : []).toEqual([])
    }
  })

  test('a missing root says so, and chunks that are not wanted to their end settle the result', async () => {
    await expect(packed(join(source, 'missing'))).rejects.toMatchObject({ code: 'file-not-found' })
    fs.writeFileSync(join(source, 'file'), randomBytes(1_000_000))
    const stopped = packTree(source)
    await stopped.chunks.next()
    await stopped.chunks.return()
    await expect(stopped.result).rejects.toMatchObject({ code: 'cancelled' })
  })

  test('chunks that are handed back are filled again', async () => {
    const content = randomBytes(3_000_000)
    fs.writeFileSync(join(source, 'file'), content)
    const { chunks, release } = packTree(source)
    const memory = new Set<ArrayBufferLike>()
    async function* copies(): AsyncGenerator<Uint8Array> {
      for await (const chunk of chunks) {
        memory.add(chunk.buffer)
        yield Buffer.from(chunk)
        release(chunk)
      }
    }
    await unpackTree(copies(), target, { asFile: false })
    expect(fs.readFileSync(join(target, 'file')).equals(content)).toBe(true)
    expect(memory.size).toBe(2)
  })
})
