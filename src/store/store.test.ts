import { execFile } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { createClient } from '@libsql/client'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openStore } from './open-store.ts'
import { stateDirectory } from './state-directory.ts'
import type { JsonValue } from './store.ts'

let directory = ''
beforeEach(() => {
  // A name that is no plain URL and no plain word.
  directory = join(mkdtempSync(join(tmpdir(), 'store-')), "state ?a=1#%20é'")
})
afterEach(() => {
  rmSync(join(directory, '..'), { recursive: true, force: true })
})

describe('the store', () => {
  test('keeps values over a close, each namespace apart', async () => {
    const values: [string, JsonValue][] = [
      ['a', null],
      ['b', { nested: [1, 'two', false], é: '\u{1F600}' }],
      ['', 'empty key'],
      ["it's; DROP TABLE entries", 1.5],
    ]
    {
      await using store = await openStore({ directory })
      for (const [key, value] of values) await store.set('one', key, value)
      await store.set('two', 'a', 'other')
    }
    await using store = await openStore({ directory })
    for (const [key, value] of values) expect((await store.get('one', key))?.value).toEqual(value)
    expect((await store.get('two', 'a'))?.value).toBe('other')
    expect(await store.get('two', 'b')).toBeUndefined()
    await expect(store.set('one', 'a\0b', 1)).rejects.toMatchObject({ code: 'invalid-argument' })
    await expect(store.set('one', 'a', undefined as unknown as JsonValue)).rejects.toMatchObject({
      code: 'invalid-argument',
    })
  })

  test('lists by prefix, which is no pattern', async () => {
    await using store = await openStore({ directory })
    const keys = ['a', 'a%', 'a%b', 'a_', 'ab', 'b', 'A', 'é', 'éa']
    for (const key of keys) await store.set('n', key, key)
    for (const prefix of ['', 'a', 'a%', 'a_', 'é', 'z']) {
      const found = (await store.list('n', prefix)).map((entry) => entry.key)
      expect(found.sort()).toEqual(keys.filter((key) => key.startsWith(prefix)).sort())
    }
  })

  test('does what a map does, with versions that only grow', async () => {
    await using store = await openStore({ directory })
    const key = fc.constantFrom('a', 'b', 'c')
    const steps = fc.array(fc.tuple(fc.constantFrom('set', 'swap', 'stale', 'make', 'delete'), key, fc.jsonValue()))
    await fc.assert(
      fc.asyncProperty(steps, fc.uuid(), async (all, namespace) => {
        const model = new Map<string, { value: unknown; version: number }>()
        let newest = 0
        for (const [kind, name, any] of all) {
          const value = JSON.parse(JSON.stringify(any)) as JsonValue
          const before = model.get(name)
          if (kind === 'delete') {
            expect(await store.delete(namespace, name)).toBe(before !== undefined)
            model.delete(name)
            continue
          }
          const expected = { set: -1, swap: before?.version ?? 0, stale: (before?.version ?? 0) + 1, make: 0 }[kind]
          const version =
            expected === -1
              ? await store.set(namespace, name, value)
              : await store.compareAndSet(namespace, name, expected, value)
          const fits = expected === -1 || expected === (before?.version ?? 0)
          expect(version !== undefined).toBe(fits)
          if (version === undefined) continue
          expect(version).toBeGreaterThan(newest)
          newest = version
          model.set(name, { value, version })
        }
        const entries = (await store.list(namespace)).map((entry) => [entry.key, entry.value, entry.version])
        expect(entries).toEqual(
          [...model.keys()].sort().map((name) => [name, model.get(name)?.value, model.get(name)?.version]),
        )
      }),
      { numRuns: 20 },
    )
  })

  test('a version is not used again after a delete', async () => {
    await using store = await openStore({ directory })
    const first = await store.set('n', 'k', 1)
    expect(await store.delete('n', 'k', first + 1)).toBe(false)
    expect(await store.delete('n', 'k', first)).toBe(true)
    await store.set('n', 'k', 2)
    expect(await store.compareAndSet('n', 'k', first, 3)).toBeUndefined()
  })

  test('several processes count together and none loses a step', async () => {
    const program = join(import.meta.dirname, '../../test/support/count-in-store.ts')
    const run = promisify(execFile)
    const argv = ['--import', 'tsx', program, directory, '40']
    await Promise.all(Array.from({ length: 3 }, () => run(process.execPath, argv)))
    await using store = await openStore({ directory })
    expect((await store.get('test', 'counter'))?.value).toBe(120)
  }, 60_000)

  test('many openings at once, in one process too, do not wait for each other in vain', async () => {
    const stores = await Promise.all(Array.from({ length: 5 }, () => openStore({ directory })))
    await Promise.all(stores.map((store, index) => store.set('n', `${index}`, index)))
    expect((await stores[0]!.list('n')).length).toBe(5)
    await Promise.all(stores.map((store) => store.close()))
  })

  test('is for its owner alone', async () => {
    const mask = process.umask(0)
    try {
      await using store = await openStore({ directory })
      await store.set('n', 'k', 'v')
      expect(statSync(directory).mode & 0o777).toBe(0o700)
      const names = readdirSync(directory)
      expect(names).toContain('anyplace.db-wal')
      for (const name of names) expect(statSync(join(directory, name)).mode & 0o777, name).toBe(0o600)
    } finally {
      process.umask(mask)
    }
    chmodSync(directory, 0o755)
    const failure = openStore({ directory })
    await expect(failure).rejects.toMatchObject({
      code: 'permission-denied',
      hint: expect.stringContaining('chmod 700'),
    })
  })

  test('a newer schema, a damaged file and a file for a directory are refused', async () => {
    await (await openStore({ directory })).close()
    const url = `file:${encodeURI(directory).replaceAll('?', '%3F').replaceAll('#', '%23')}/anyplace.db`
    const client = createClient({ url })
    await client.execute("INSERT INTO schema_version VALUES (999, 'later')")
    client.close()
    await expect(openStore({ directory })).rejects.toMatchObject({
      code: 'unsupported',
      message: expect.stringContaining('999'),
    })
    const damaged = join(directory, 'damaged')
    mkdirSync(damaged, { mode: 0o700 })
    writeFileSync(join(damaged, 'anyplace.db'), 'this is no database, and it is long enough to see that'.repeat(50))
    await expect(openStore({ directory: damaged })).rejects.toMatchObject({
      code: 'internal',
      message: expect.stringContaining('damaged'),
    })
    writeFileSync(join(directory, 'file'), '')
    await expect(openStore({ directory: join(directory, 'file') })).rejects.toMatchObject({ name: 'AnyplaceError' })
  })

  test('ANYPLACE_HOME names the directory', () => {
    expect(stateDirectory({ ANYPLACE_HOME: '/srv/state' })).toBe('/srv/state')
    expect(stateDirectory({ ANYPLACE_HOME: '' })).toMatch(/\/\.anyplace$/)
    expect(stateDirectory({})).toMatch(/^\/.*\/\.anyplace$/)
  })
})
