import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { AnyplaceError } from '../spec/index.ts'
import type { FileInfo, Files } from '../spec/index.ts'
import { localTarget, parseCopy, remoteTarget } from './copy-paths.ts'

const folder = mkdtempSync(join(tmpdir(), 'copy-paths-'))
afterAll(() => rmSync(folder, { recursive: true }))
const { signal } = new AbortController()

test.each([
  ['a', 'box:b', { direction: 'in', sandbox: 'box', remotePath: 'b', localPath: 'a' }],
  ['a', 'box:', { direction: 'in', sandbox: 'box', remotePath: '.', localPath: 'a' }],
  ['box:/x y', '.', { direction: 'out', sandbox: 'box', remotePath: '/x y', localPath: '.' }],
  ['box:a:b\n', '-x', { direction: 'out', sandbox: 'box', remotePath: 'a:b\n', localPath: '-x' }],
  ['./a:b', 'box:c', { direction: 'in', sandbox: 'box', remotePath: 'c', localPath: './a:b' }],
  ['/a:b', 'box:c', { direction: 'in', sandbox: 'box', remotePath: 'c', localPath: '/a:b' }],
  ['box:-rf', 'x', { direction: 'out', sandbox: 'box', remotePath: '-rf', localPath: 'x' }],
])('%j to %j', (source, target, expected) => {
  expect(parseCopy(source, target)).toEqual(expected)
})

test.each([
  ['a', 'b', 'One side must be SANDBOX:PATH'],
  ['x:a', 'y:b', 'One side must be a local path'],
  ['-', 'x:a', 'does not read stdin'],
  ['x:a', '-', 'does not read stdin'],
  ['', 'x:a', 'path is empty'],
  ['x:a', '', 'path is empty'],
])('%j to %j is refused', (source, target, message) => {
  expect(() => parseCopy(source, target)).toThrow(message)
})

/** The part of Files that is asked; a table of what is there. */
function filesWith(entries: Readonly<Record<string, FileInfo['type']>>): Files {
  return {
    stat: (path: string) => {
      const type = entries[path]
      if (type === undefined) return Promise.reject(new AnyplaceError('file-not-found', path))
      return Promise.resolve({ path, type } as FileInfo)
    },
  } as Files
}

test.each([
  ['src', 'box:new', 'new'],
  ['src', 'box:dir', 'dir/src'],
  ['src/', 'box:dir', 'dir/src'],
  ['src/.', 'box:dir', 'dir'],
  ['.', 'box:dir', 'dir'],
  ['src', 'box:new/', 'new/src'],
  ['src', 'box:', 'src'],
  ['src', 'box:file', 'file'],
  ['src', 'box:link', 'link/src'],
])('an upload of %j to %j lands at %j', async (source, target, expected) => {
  const files = filesWith({ '.': 'directory', dir: 'directory', file: 'file', link: 'symlink', 'link/.': 'directory' })
  expect(await remoteTarget(files, parseCopy(source, target), signal)).toBe(expected)
})

test('a target that cannot be looked at is a failure, not a missing file', async () => {
  const files = { stat: () => Promise.reject(new AnyplaceError('permission-denied', 'no')) } as unknown as Files
  await expect(remoteTarget(files, parseCopy('a', 'box:/root/x'), signal)).rejects.toThrow('no')
})

test.each([
  ['box:out', 'missing', 'missing'],
  ['box:out', '.', 'out'],
  ['box:a/b', '.', 'b'],
  ['box:out/.', '.', '.'],
  ['box:', '.', '.'],
  ['box:out', 'missing/', 'missing/out'],
  ['box:/', '.', '.'],
])('a download of %j to %j lands at %j', async (source, target, expected) => {
  expect(await localTarget(parseCopy(source, target), join(folder, target))).toBe(join(folder, expected))
})
