import { execFileSync } from 'node:child_process'
import {
  appendFileSync,
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { localProvider } from '../../src/providers/local/index.ts'
import { openSandbox } from '../../src/sandboxes/open-sandbox.ts'
import type { Sandbox } from '../../src/sandboxes/sandbox.ts'
import type { Channel, Provider } from '../../src/spec/index.ts'

const home = mkdtempSync(join(tmpdir(), 'anyplace-sync-home-'))
let box: Sandbox
let root: string
let channel: Channel | undefined

/** The real provider; remembers the channel, so that a test can cut it. */
function provider(): Provider {
  const real = localProvider({ engine: 'direct', stateDirectory: home })
  return {
    ...real,
    async open(request) {
      const host = await real.open(request)
      const connect = host.connect.bind(host)
      host.connect = async (options) => (channel = await connect(options))
      return host
    },
  }
}

beforeAll(async () => {
  box = await openSandbox({ provider: provider() }, {})
})
afterAll(async () => {
  await box.close()
  rmSync(home, { recursive: true, force: true })
}, 20_000)
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'anyplace-sync-'))
})
afterEach(async () => {
  await box.files.remove('t', { recursive: true, force: true })
  rmSync(root, { recursive: true, force: true })
})

/** A local tree under the name. */
function plant(name: string, files: Readonly<Record<string, string>>): string {
  const folder = join(root, name)
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(folder, path, '..'), { recursive: true })
    writeFileSync(join(folder, path), text)
  }
  return folder
}

/** Everything that a copy must keep, as `find` and `cat` of the system see it. */
function look(folder: string): string {
  const script =
    'find . -mindepth 1 -type f -printf "%p %y %m %Ts\\n" -o -type l -printf "%p %y %l\\n" -o -mindepth 1 -printf "%p %y %m\\n" | sort; find . -type f | sort | xargs -d "\\n" -r sha256sum'
  return execFileSync('sh', ['-c', script], { cwd: folder, encoding: 'utf8', env: { ...process.env, LC_ALL: 'C' } })
}

function rich(name: string): string {
  const folder = plant(name, {
    'run.sh': '#!/bin/sh\n',
    'a/b/c/deep': 'deep',
    'a/-rf': 'dash',
    'odd/na\'me "$(id)\\ é': 'odd',
    'odd/.dot': '',
    'big.bin': 'x'.repeat(3_000_000),
  })
  mkdirSync(join(folder, 'empty/er'), { recursive: true })
  chmodSync(join(folder, 'run.sh'), 0o750)
  chmodSync(join(folder, 'a/b'), 0o700)
  symlinkSync('run.sh', join(folder, 'link'))
  symlinkSync('nowhere', join(folder, 'a/dangling'))
  utimesSync(join(folder, 'big.bin'), 1_000_000_000, 1_234_567_890.5)
  return folder
}

test('a tree goes up and comes back as it was; a second time nothing moves', async () => {
  const folder = rich('source')
  const first = await box.sync.up(folder, 't')
  expect(first).toMatchObject({ files: 8, bytes: 3_000_000 + 10 + 4 + 4 + 3, deleted: 0, unchanged: 0, dryRun: false })
  const back = join(root, 'back')
  expect(await box.sync.down('t', back)).toMatchObject({ files: 8, bytes: first.bytes })
  expect(look(back)).toBe(look(folder))
  for (const again of [await box.sync.up(folder, 't'), await box.sync.down('t', back)]) {
    expect(again).toMatchObject({ files: 0, bytes: 0, deleted: 0, unchanged: 8, changes: [] })
  }
})

test('only what differs moves: size, time, mode, link; up and down', async () => {
  const folder = rich('source')
  await box.sync.up(folder, 't')
  writeFileSync(join(folder, 'a/b/c/deep'), 'deeper')
  utimesSync(join(folder, 'a/-rf'), 1, 2_000_000_000)
  chmodSync(join(folder, 'odd/.dot'), 0o600)
  rmSync(join(folder, 'link'))
  symlinkSync('a', join(folder, 'link'))
  chmodSync(join(folder, 'empty'), 0o711)
  const up = await box.sync.up(folder, 't')
  expect(up.changes.map(({ path }) => path)).toEqual(['a/-rf', 'a/b/c/deep', 'empty', 'link', 'odd/.dot'])
  expect(up).toMatchObject({ files: 4, bytes: 10, unchanged: 4 })
  const back = join(root, 'back')
  await box.sync.down('t', back)
  expect(look(back)).toBe(look(folder))
  await box.run(['sh', '-c', 'cd t; echo new > new; echo longer >> run.sh; ln -sfn odd link'], { check: true })
  const down = await box.sync.down('t', back)
  expect(down.changes.map(({ action, path }) => `${action} ${path}`)).toEqual([
    'update link',
    'create new',
    'update run.sh',
  ])
  expect(readFileSync(join(back, 'new'), 'utf8')).toBe('new\n')
})

test('a file written again in the same second, as long as before', async () => {
  const folder = plant('source', { f: 'one' })
  const back = join(root, 'back')
  for (const text of ['two', 'six', 'ten']) {
    writeFileSync(join(folder, 'f'), text)
    expect(await box.sync.up(folder, 't')).toMatchObject({ files: 1 })
    expect(await box.sync.up(folder, 't')).toMatchObject({ files: 0 })
    await box.sync.down('t', back)
    expect(readFileSync(join(back, 'f'), 'utf8')).toBe(text)
    await box.run(['sh', '-c', `printf %s ${text.toUpperCase()} > t/f`], { check: true })
    expect(await box.sync.down('t', back)).toMatchObject({ files: 1 })
    expect(await box.sync.down('t', back)).toMatchObject({ files: 0 })
    expect(readFileSync(join(back, 'f'), 'utf8')).toBe(text.toUpperCase())
  }
})

test('nothing is deleted unless asked; a dry run does nothing; what is excluded stays', async () => {
  const folder = plant('source', { a: '1', 'logs/x.log': 'local' })
  await box.run(['sh', '-c', 'mkdir -p t/old/er t/logs; echo o > t/old/er/f; echo r > t/logs/y.log; echo z > t/z'], {
    check: true,
  })
  await box.sync.up(folder, 't', { exclude: ['*.log'] })
  expect((await box.run(['ls', 't', 't/logs'])).stdout.split(/\s+/)).toEqual(
    expect.arrayContaining(['a', 'old', 'z', 'y.log']),
  )
  const options = { exclude: ['*.log'], delete: true }
  const dry = await box.sync.up(folder, 't', { ...options, dryRun: true })
  expect(dry).toMatchObject({ dryRun: true, deleted: 2 })
  expect(await box.files.exists('t/old/er/f')).toBe(true)
  expect(await box.sync.up(folder, 't', options)).toMatchObject({ deleted: 2, changes: dry.changes })
  expect((await box.run(['find', 't', '-type', 'f'])).stdout.split('\n').sort()).toEqual(['', 't/a', 't/logs/y.log'])

  const back = plant('back', { 'keep.log': 'k', 'gone/file': 'g', "-x'$(id)": 'odd' })
  symlinkSync('/etc', join(back, 'outside'))
  expect(await box.sync.down('t', back, options)).toMatchObject({ deleted: 3 })
  expect(look(back)).toMatch(/^\.\/a f/)
  expect(existsSync(join(back, 'keep.log'))).toBe(true)
  expect(existsSync('/etc/passwd')).toBe(true)
})

test('another kind in the way is an error, and replaced with delete', async () => {
  const folder = plant('source', { 'x/y': '1', w: 'file' })
  await box.run(['sh', '-c', 'mkdir -p t/w; echo 1 > t/w/inner; echo f > t/x'], { check: true })
  await expect(box.sync.up(folder, 't')).rejects.toMatchObject({ code: 'is-a-directory', data: { path: 'w' } })
  await box.sync.up(folder, 't', { delete: true })
  const back = plant('back', { 'w/inner': '1', x: 'f' })
  await expect(box.sync.down('t', back)).rejects.toMatchObject({ hint: expect.stringContaining('delete') })
  await box.sync.down('t', back, { delete: true })
  expect(look(back)).toBe(look(folder))
})

test('a link in the way is not followed on either side', async () => {
  const outside = plant('outside', { precious: 'p' })
  const folder = plant('source', { 'd/f': '1' })
  await box.run(['sh', '-c', `mkdir t; ln -s ${outside} t/d`], { check: true })
  await expect(box.sync.up(folder, 't')).rejects.toMatchObject({ code: 'not-a-directory' })
  await box.sync.up(folder, 't', { delete: true })
  const back = join(root, 'back')
  mkdirSync(back)
  symlinkSync(outside, join(back, 'd'))
  await expect(box.sync.down('t', back)).rejects.toMatchObject({ code: 'not-a-directory' })
  await box.sync.down('t', back, { delete: true })
  expect(lstatSync(join(back, 'd')).isDirectory()).toBe(true)
  expect(look(outside)).toContain('./precious')
  expect(existsSync(join(outside, 'f'))).toBe(false)
})

test('sources and targets that are not trees', async () => {
  const folder = plant('source', { f: '1' })
  await expect(box.sync.up(join(folder, 'f'), 't')).rejects.toMatchObject({ code: 'not-a-directory' })
  await expect(box.sync.up(join(folder, 'none'), 't')).rejects.toMatchObject({ code: 'file-not-found' })
  await expect(box.sync.down('none', folder)).rejects.toMatchObject({ code: 'file-not-found' })
  await box.files.write('t', 'a file')
  await expect(box.sync.up(folder, 't')).rejects.toMatchObject({ code: 'not-a-directory' })
  await expect(box.sync.down('t', folder)).rejects.toMatchObject({ code: 'not-a-directory' })
  await box.files.remove('t')
  expect(await box.sync.up(plant('empty', { 'x/y': '' }), 't', { exclude: ['*'] })).toMatchObject({ files: 0 })
  expect((await box.files.stat('t')).type).toBe('directory')
})

test('progress grows to what there is', async () => {
  const folder = rich('source')
  const seen: { files: number; bytes: number }[] = []
  await box.sync.up(folder, 't', {
    onProgress: ({ phase, files, bytes, totalFiles, totalBytes }) => {
      if (phase === 'moving') {
        seen.push({ files, bytes })
        expect([totalFiles, totalBytes]).toEqual([8, 3_000_021])
      }
    },
  })
  expect(seen.at(-1)).toEqual({ files: 8, bytes: 3_000_021 })
  expect(seen.map(({ bytes }) => bytes)).toEqual(seen.map(({ bytes }) => bytes).sort((a, b) => a - b))
})

describe('what goes wrong can be repeated', () => {
  const many = (): string =>
    plant('source', Object.fromEntries(Array.from({ length: 400 }, (_, i) => [`f${1000 + i}`, `${i}`.repeat(5000)])))

  test('a file that grows or vanishes while it is copied', async () => {
    const folder = many()
    let done = false
    const once = (act: () => void) => ({
      onProgress: ({ files }: { readonly files: number }) => {
        if (files < 50 || done) return
        done = true
        act()
      },
    })
    const vanish = once(() => rmSync(join(folder, 'f1399')))
    await expect(box.sync.up(folder, 't', vanish)).rejects.toMatchObject({ code: 'conflict', retryable: true })
    expect(await box.sync.up(folder, 't')).toMatchObject({ files: 0, unchanged: 399 })
    writeFileSync(join(folder, 'big'), Buffer.alloc(30_000_000))
    const grow = {
      onProgress: ({ bytes }: { readonly bytes: number }) => bytes > 1e6 && appendFileSync(join(folder, 'big'), 'x'),
    }
    await expect(box.sync.up(folder, 't', grow as never)).rejects.toMatchObject({
      code: 'conflict',
      data: { path: join(folder, 'big') },
    })
    expect(await box.files.exists('t/big')).toBe(false)
    await box.sync.up(folder, 't')
    expect((await box.files.stat('t/big')).sizeBytes).toBe(lstatSync(join(folder, 'big')).size)
  })

  test('a link that drops, either way', async () => {
    const folder = many()
    const cut = {
      onProgress: ({ phase, files }: { readonly phase: string; readonly files: number }) => {
        if (phase === 'moving' && files > 100) void channel?.close()
      },
    }
    writeFileSync(join(folder, 'z-last'), Buffer.alloc(20_000_000))
    await expect(box.sync.up(folder, 't', cut)).rejects.toMatchObject({ code: 'connection-lost' })
    await box.sync.up(folder, 't')
    const back = join(root, 'back')
    await expect(box.sync.down('t', back, cut)).rejects.toMatchObject({ code: 'connection-lost' })
    await box.sync.down('t', back, { delete: true })
    expect(look(back)).toBe(look(folder))
    expect((await box.run(['sh', '-c', 'ls -A t | grep -c anyplace'])).stdout).toBe('0\n')
  })

  test('a cancel', async () => {
    const stop = new AbortController()
    const options = {
      signal: stop.signal,
      onProgress: ({ files }: { readonly files: number }) => files > 10 && stop.abort(),
    }
    await expect(box.sync.up(many(), 't', options as never)).rejects.toMatchObject({ code: 'cancelled' })
  })

  describe.skipIf(process.getuid?.() !== 0 || process.platform !== 'linux')(
    'a full disk (needs root, to mount one)',
    () => {
      let disk: string
      beforeEach(() => {
        disk = join(root, 'disk')
        mkdirSync(disk)
        execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', disk])
      })
      afterEach(() => void execFileSync('umount', [disk]))

      test('here and there', async () => {
        const folder = many()
        await expect(box.sync.up(folder, join(disk, 't'))).rejects.toMatchObject({ code: 'no-space' })
        await box.sync.up(folder, 't')
        await expect(box.sync.down('t', join(disk, 'back'))).rejects.toMatchObject({ code: 'no-space' })
        execFileSync('mount', ['-o', 'remount,size=100m', disk])
        expect(await box.sync.up(folder, join(disk, 't'))).toMatchObject({ dryRun: false })
        await box.sync.down('t', join(disk, 'back'))
        expect(look(join(disk, 'back'))).toBe(look(folder))
        expect(look(join(disk, 't'))).toBe(look(folder))
      })
    },
  )
})
