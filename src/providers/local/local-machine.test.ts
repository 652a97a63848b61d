import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { localMachine } from './local-machine.ts'

const machine = localMachine()
let root: string
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'anyplace-machine-'))
})
afterAll(() => rm(root, { recursive: true, force: true }))

describe('localMachine', () => {
  it('tells what this computer is', async () => {
    const facts = await machine.facts()
    expect(facts).toMatchObject({ platform: process.platform, architecture: process.arch, uid: process.getuid?.() })
    expect(facts.cpuCount).toBeGreaterThan(0)
    expect(facts.memoryMiB).toBeGreaterThan(128)
    expect(facts.bootId).not.toBe('')
  })

  it('keeps state where ANYPLACE_HOME says', async () => {
    const before = process.env['ANYPLACE_HOME']
    try {
      process.env['ANYPLACE_HOME'] = '/somewhere/else'
      expect((await machine.facts()).stateDirectory).toBe('/somewhere/else')
      delete process.env['ANYPLACE_HOME']
      expect((await machine.facts()).stateDirectory).toMatch(/\/\.anyplace$/)
    } finally {
      if (before !== undefined) process.env['ANYPLACE_HOME'] = before
    }
  })

  it('writes all or nothing, with the mode that was asked for, and private parents', async () => {
    const path = join(root, 'deep/er/file')
    await machine.writeFile(path, Buffer.from('one'))
    await machine.writeFile(path, Buffer.from('two'), { mode: 0o640 })
    expect(await readFile(path, 'utf8')).toBe('two')
    expect((await stat(path)).mode & 0o777).toBe(0o640)
    expect((await stat(join(root, 'deep'))).mode & 0o777).toBe(0o700)
    expect(await readdir(join(root, 'deep/er'))).toEqual(['file'])
    await expect(machine.writeFile(join(path, 'below-a-file'), Buffer.from('x'))).rejects.toMatchObject({
      code: 'not-a-directory',
    })
  })

  it('tells a missing file from one that fails', async () => {
    expect(await machine.readFile(join(root, 'missing'))).toBeUndefined()
    expect(await machine.listDirectory(join(root, 'missing'))).toEqual([])
    await expect(machine.readFile(root)).rejects.toMatchObject({ code: 'is-a-directory' })
  })

  it('removes trees that forbid it, and never what links point to', async () => {
    const kept = join(root, 'kept')
    const tree = join(root, 'tree')
    await mkdir(kept)
    await writeFile(join(kept, 'file'), 'x')
    await mkdir(join(tree, 'locked'), { recursive: true })
    await writeFile(join(tree, 'locked/file'), 'x')
    await symlink(kept, join(tree, 'link'))
    await chmod(join(tree, 'locked'), 0o000)
    await machine.remove(tree)
    await machine.remove(tree)
    expect((await readdir(root)).includes('tree')).toBe(false)
    expect(await readdir(kept)).toEqual(['file'])
  })

  it('connects to a socket, and says why it cannot', async () => {
    const path = join(root, 'socket')
    const server = createServer((socket) => socket.end('hello')).listen(path)
    await new Promise((done) => server.once('listening', done))
    try {
      const stream = await machine.connect(path)
      let text = ''
      for await (const chunk of stream) text += String(chunk)
      stream.destroy()
      expect(text).toBe('hello')
    } finally {
      server.close()
    }
    await expect(machine.connect(join(root, 'none'))).rejects.toMatchObject({
      code: 'engine-unavailable',
      message: expect.stringContaining('no such socket'),
    })
    await expect(machine.connect(path, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'cancelled' })
  })
})
