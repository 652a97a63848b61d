import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { packTree, unpackTree } from './tar.ts'

let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'anyplace-only-'))
  mkdirSync(join(root, 'source/a/.git/hooks'), { recursive: true })
  writeFileSync(join(root, 'source/a/.git/hooks/evil'), 'evil')
  writeFileSync(join(root, 'source/a/wanted'), 'wanted')
})
afterEach(() => rmSync(root, { recursive: true }))

test.each([
  ['a file', 'a/.git/hooks/evil'],
  ['a directory', 'a/.git'],
])('an archive with %s that nobody asked for is refused, and it is not written', async (_what, name) => {
  const { chunks } = packTree(join(root, 'source'), { only: ['a/wanted', name] })
  const target = join(root, 'target')
  const unpacking = unpackTree(chunks, target, { asFile: false, accepts: (one) => one === 'a/wanted' })
  await expect(unpacking).rejects.toMatchObject({ code: 'unsafe-archive' })
  expect(existsSync(join(target, name))).toBe(false)
  expect(readFileSync(join(target, 'a/wanted'), 'utf8')).toBe('wanted')
})

test('only reads no path through a link, and skips what is gone', async () => {
  symlinkSync('a', join(root, 'source/link'))
  const { chunks, result } = packTree(join(root, 'source'), {
    only: ['link/wanted', 'gone', 'a/wanted/deeper', 'a/wanted'],
  })
  await unpackTree(chunks, join(root, 'target'), { asFile: false })
  expect(await result).toMatchObject({ files: 1, bytes: 6 })
  expect(existsSync(join(root, 'target/link'))).toBe(false)
})

test('with only, the time of a file written just now keeps its fraction; an old one its second', async () => {
  const now = Math.floor(Date.now() / 1000) - 0.75
  utimesSync(join(root, 'source/a/wanted'), now, now)
  utimesSync(join(root, 'source/a/.git/hooks/evil'), 1000.5, 1000.5)
  const { chunks } = packTree(join(root, 'source'), { only: ['a/wanted', 'a/.git/hooks/evil'] })
  await unpackTree(chunks, join(root, 'target'), { asFile: false })
  expect(statSync(join(root, 'target/a/wanted')).mtimeMs).toBeCloseTo(now * 1000, 1)
  expect(statSync(join(root, 'target/a/.git/hooks/evil')).mtimeMs).toBe(1_000_000)
})
