import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { AnyplaceError } from '../../spec/index.ts'
import type { FileInfo, Files } from '../../spec/index.ts'
import { pathFilter } from './path-filter.ts'
import { remoteTree } from './remote-tree.ts'
import { planSync } from './sync-plan.ts'
import { SnapshotBuilder } from './tree-entry.ts'
import type { TreeEntry } from './tree-entry.ts'

const everything = pathFilter(undefined, undefined)

/** `a/` is a directory, `a->b` a link, all else a file; `=1` behind a name is its time. */
function tree(words: string, include?: string[], exclude?: string[]): SnapshotBuilder {
  const builder = new SnapshotBuilder(pathFilter(include, exclude))
  for (const word of words.split(' ').filter((one) => one !== '')) builder.add(entry(word))
  return builder
}

function entry(word: string): TreeEntry {
  const [name = '', time = '0'] = word.split('=')
  const [path = '', target] = name.split('->')
  if (target !== undefined) return { path, type: 'symlink', sizeBytes: 0, mode: 0o777, modifiedMs: 0, target }
  if (path.endsWith('/')) {
    return { path: path.slice(0, -1), type: 'directory', sizeBytes: 0, mode: 0o755, modifiedMs: Number(time) * 1000 }
  }
  return { path, type: 'file', sizeBytes: 1, mode: 0o644, modifiedMs: Number(time) * 1000 }
}

function planned(source: string, target: string, mayDelete = false): string {
  const plan = planSync(tree(source), tree(target), mayDelete)
  const signs = { create: '+', update: '~', delete: '-' }
  const text = (list: typeof plan.moved, mark = ''): string[] =>
    list.map(({ action, path }) => `${mark}${signs[action]}${path}`)
  return [...text(plan.inTheWay, '!'), ...text(plan.moved), ...text(plan.deleted)].join(' ')
}

describe('what is done', () => {
  test.each([
    ['a b/ b/c', '', '+a +b +b/c'],
    ['a b/ b/c', 'a b/ b/c', ''],
    ['a=1', 'a', '~a'],
    ['b/=5', 'b/', ''], // a directory's own time says nothing
    ['l->x', 'l->y', '~l'],
    ['l->x', 'l', '~l'],
    ['l', 'l->x', '~l'],
    ['a', 'a z y/ y/x', ''],
  ])('%s over %s: %s', (source, target, expected) => {
    expect(planned(source, target)).toBe(expected)
  })

  test.each([
    ['a', 'a z y/ y/x', '-z -y'],
    ['a/ a/b', 'a', '!-a ~a +a/b'],
    ['a', 'a/ a/b a/c/ a/c/d', '!-a ~a'],
    ['a/ a/b/ a/b/c', 'a/ a/b->/etc', '!-a/b ~a/b +a/b/c'],
  ])('with delete, %s over %s: %s', (source, target, expected) => {
    expect(planned(source, target, true)).toBe(expected)
  })

  test('nothing is replaced by another kind unless things may be deleted', () => {
    expect(() => planned('a', 'a/')).toThrow(expect.objectContaining({ code: 'is-a-directory' }))
    expect(() => planned('a/', 'a')).toThrow(expect.objectContaining({ code: 'not-a-directory' }))
    expect(() => planned('a/', 'a->b')).toThrow(expect.objectContaining({ code: 'not-a-directory' }))
  })

  test('what was left out is never deleted, nor the directories around it', () => {
    const target = tree('a/ a/keep.log a/x b/ b/c', undefined, ['*.log'])
    expect(planSync(tree('', undefined, ['*.log']), target, true).deleted.map(({ path }) => path)).toEqual(['a/x', 'b'])
    expect(() => planSync(tree('a'), target, true)).toThrow(/is a directory at the target/)
    const included = tree('a/ a/one.py a/two.txt', ['*.py'])
    expect(planSync(tree('', ['*.py']), included, true).deleted.map(({ path }) => path)).toEqual(['a/one.py'])
  })

  test('half files of an interrupted sync belong to neither side', () => {
    expect(planned('.anyplace-12-3 a', 'a .anyplace-k3x9-0', true)).toBe('')
  })
})

test('after the plan both sides are alike, whatever they were', () => {
  const names = fc.uniqueArray(
    fc.constantFrom('a', 'a/', 'a->x', 'a/b', 'a/b/', 'a/b/c', 'd=1', 'd', 'd/', 'd/e', 'f->g', 'f->h'),
    {
      selector: (word) => entry(word).path,
    },
  )
  const sound = (words: string[]): string[] =>
    words.filter((word) => {
      const { path } = entry(word)
      const parent = path.slice(0, Math.max(0, path.lastIndexOf('/')))
      return parent === '' || words.some((one) => one === `${parent}/`)
    })
  const make = (words: string[]): SnapshotBuilder => tree(sound(sound(words)).sort().join(' '))
  fc.assert(
    fc.property(names, names, (one, two) => {
      const [source, target] = [make(one), make(two)]
      const plan = planSync(source, target, true)
      const result = new Map(target.entries)
      const remove = (path: string): void => {
        for (const key of result.keys()) if (key === path || key.startsWith(`${path}/`)) result.delete(key)
      }
      for (const { path } of plan.inTheWay) remove(path)
      for (const { path } of plan.moved) result.set(path, source.entries.get(path)!)
      for (const { path } of plan.deleted) remove(path)
      const shown = (entries: Iterable<TreeEntry>): string[] =>
        [...entries].map(({ path, type, target: to }) => `${path} ${type} ${to ?? ''}`).sort()
      expect(shown(result.values())).toEqual(shown(source.entries.values()))
    }),
  )
})

describe('patterns', () => {
  const all = 'a.py b.txt src/ src/a.py src/lib/ src/lib/b.py src/lib/.hidden data/ data/x.bin [odd]/ [odd]/f'
  const taken = (include?: string[], exclude?: string[]): string[] => {
    const builder = new SnapshotBuilder(pathFilter(include, exclude))
    const out = new Set<string>()
    for (const one of all.split(' ').map(entry)) {
      const parent = one.path.slice(0, Math.max(0, one.path.lastIndexOf('/')))
      if (out.has(parent) || !builder.add(one)) out.add(one.path)
    }
    return [...builder.entries.keys()]
  }

  test.each([
    [['*.py'], undefined, ['a.py', 'src', 'src/a.py', 'src/lib', 'src/lib/b.py']],
    [['/*.py'], undefined, ['a.py']],
    [['src/lib'], undefined, ['src', 'src/lib', 'src/lib/b.py', 'src/lib/.hidden']],
    [['src/**'], ['lib/'], ['src', 'src/a.py']],
    [['**/*.bin'], undefined, ['data', 'data/x.bin']],
    [['nothing'], undefined, []],
    [['\\[odd\\]'], undefined, ['[odd]', '[odd]/f']],
    [undefined, ['*'], []],
    [undefined, ['b.*', 'src', './data/', '[[]odd]'], ['a.py']],
    [['*.py'], ['src/lib/*'], ['a.py', 'src', 'src/a.py']],
    [['a.py/'], undefined, []],
  ])('include %j, exclude %j', (include, exclude, expected) => {
    expect(taken(include, exclude)).toEqual(expected)
  })

  test.each(['', '/', '../x', 'a/../../b', 7 as never])('%j is refused', (pattern) => {
    for (const field of ['include', 'exclude'] as const) {
      const call = (): unknown => pathFilter(field === 'include' ? [pattern] : [], field === 'exclude' ? [pattern] : [])
      expect(call).toThrow(expect.objectContaining({ code: 'invalid-argument', field }))
    }
  })
})

describe('a sandbox that lies', () => {
  const listed = (...paths: string[]): Files =>
    ({
      list: async () => ({
        entries: paths.map((path): FileInfo => ({
          ...entry('x'),
          path,
          type: 'file',
          modifiedAt: new Date(0),
          uid: 0,
          gid: 0,
        })),
        total: paths.length,
        truncated: false,
      }),
    }) as unknown as Files

  test.each(['..', '../x', '/etc/passwd', 'a/../../b', 'a//b', './a', '', 'a\0b', 'a/.'])('about %j', async (path) => {
    const error = await remoteTree(listed('fine', path), 't', everything, undefined).catch((reason: unknown) => reason)
    expect(AnyplaceError.is(error, 'protocol-error')).toBe(true)
  })

  test('about a directory that cannot be read: it is not taken for an empty one', async () => {
    const files = { list: async () => ({ entries: [], total: 0, truncated: false, unreadable: ['secret'] }) }
    await expect(remoteTree(files as unknown as Files, 't', everything, undefined)).rejects.toMatchObject({
      code: 'permission-denied',
    })
  })
})
