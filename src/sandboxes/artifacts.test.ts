import { createHash } from 'node:crypto'
import { posix } from 'node:path'
import { expect, test } from 'vitest'
import { AnyplaceError } from '../spec/index.ts'
import type { FileInfo, Files } from '../spec/index.ts'
import { Artifacts } from './artifacts.ts'

/** A tree in memory: text is a file, { to } a link, null a directory. Records what was read. */
function tree(entries: Readonly<Record<string, string | { readonly to: string } | null>>) {
  const touched: string[] = []
  const files = {
    async stat(path: string): Promise<FileInfo> {
      const entry = entries[path]
      if (entry === undefined) throw new AnyplaceError('file-not-found', path)
      const type = entry === null ? 'directory' : typeof entry === 'string' ? 'file' : 'symlink'
      const target = type === 'symlink' ? { target: (entry as { to: string }).to } : {}
      return { path, type, sizeBytes: 0, mode: 0, modifiedAt: new Date(0), uid: 0, gid: 0, ...target }
    },
    async read(path: string): Promise<Uint8Array> {
      touched.push(path)
      return Buffer.from(entries[posix.normalize(path)] as string, 'latin1')
    },
    async list(path: string) {
      touched.push(path)
      return { entries: [], total: 0, truncated: false }
    },
  }
  return { artifacts: new Artifacts(files as unknown as Files, '/w'), touched }
}

const ENTRIES = {
  '/w': { to: 'real/w' },
  '/real': null,
  '/real/w': null,
  '/real/w/a': 'hello',
  '/real/w/latin': '\xff',
  '/real/w/d': null,
  '/real/w/d/up': { to: '../a' },
  '/real/w/inside': { to: '/real/w/d/../a' },
  '/real/w/out': { to: '/etc' },
  '/real/w/out2': { to: '../../etc' },
  '/real/w/sneaky': { to: 'd/../../../etc' },
  '/real/w/loop': { to: 'loop' },
  '/etc': null,
  '/etc/passwd': 'root',
  '/wrong': null,
  '/wrong/a': 'a sibling whose name begins as the root',
}

test.each(['a', './a', 'd/up', 'd/../a', 'inside', '/w/a', 'out/../a'])(
  '%s is within, also through links',
  async (path) => {
    const { artifacts, touched } = tree(ENTRIES)
    if (path === 'out/../a') {
      // As the kernel would: the link is followed first.
      await expect(artifacts.read(path)).rejects.toMatchObject({ code: 'permission-denied' })
      return
    }
    expect(await artifacts.read(path)).toEqual({
      path,
      content: 'hello',
      encoding: 'text',
      sizeBytes: 5,
      sha256: createHash('sha256').update('hello').digest('hex'),
    })
    expect(touched).toEqual(['/real/w/a'])
  },
)

test.each([
  '..',
  '../wrong/a',
  '/etc/passwd',
  '/wrong/a',
  'out',
  'out/passwd',
  'out2/passwd',
  'sneaky/passwd',
  'd/../../x',
])('%s leads out and is refused for every verb, before anything is read', async (path) => {
  const { artifacts, touched } = tree(ENTRIES)
  for (const call of [() => artifacts.read(path), () => artifacts.list(path), () => artifacts.archive(path)]) {
    await expect(call()).rejects.toMatchObject({ code: 'permission-denied', field: 'path' })
  }
  expect(touched).toEqual([])
})

test('a loop of links ends, NUL is refused, what is missing is told so', async () => {
  const { artifacts } = tree(ENTRIES)
  await expect(artifacts.read('loop')).rejects.toMatchObject({ code: 'invalid-argument' })
  await expect(artifacts.read('a\0')).rejects.toMatchObject({ code: 'invalid-argument' })
  await expect(artifacts.read('missing')).rejects.toMatchObject({ code: 'file-not-found' })
})

test('text that is none is refused; as base64 it is exact', async () => {
  const { artifacts } = tree(ENTRIES)
  await expect(artifacts.read('latin')).rejects.toMatchObject({ code: 'invalid-argument', field: 'encoding' })
  expect((await artifacts.read('latin', { encoding: 'base64' })).content).toBe('/w==')
})

test('at: a narrower root', async () => {
  const { artifacts } = tree(ENTRIES)
  await expect(artifacts.at('d').read('../a')).rejects.toMatchObject({ code: 'permission-denied' })
})
