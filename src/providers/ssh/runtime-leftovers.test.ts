import { existsSync, linkSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterEach, expect, test, vi } from 'vitest'
import { removeDeadSockets } from './runtime-leftovers.ts'

afterEach(() => {
  vi.restoreAllMocks()
})

test('sockets of masters that have ended go, once they are old; what lives, and what is no socket, stays', async () => {
  const directory = mkdtempSync('/tmp/anyplace-leftovers-')
  const alive = createServer().listen(join(directory, 'alive'))
  const dead = createServer().listen(join(directory, 'own'))
  try {
    await Promise.all([alive, dead].map((server) => new Promise((resolve) => server.once('listening', resolve))))
    linkSync(join(directory, 'own'), join(directory, 'dead'))
    await new Promise((resolve) => dead.close(resolve))
    writeFileSync(join(directory, 'file'), '')
    await removeDeadSockets(directory)
    expect(existsSync(join(directory, 'dead'))).toBe(true)
    const now = Date.now()
    vi.spyOn(Date, 'now').mockReturnValue(now + 3_600_000)
    await removeDeadSockets(directory)
    expect(['dead', 'alive', 'file'].map((name) => existsSync(join(directory, name)))).toEqual([false, true, true])
  } finally {
    alive.close()
    rmSync(directory, { recursive: true, force: true })
  }
})
