import { execFile, spawn } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { once } from 'node:events'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { SHELL_SUPERVISOR, supervisorArguments } from './supervisor.ts'

let directory = ''
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'anyplace-supervisor-'))
})
afterAll(() => rm(directory, { recursive: true, force: true }))

/** Runs the shell's supervisor until it ends; tells how many seconds of the boot clock it took, at least. */
async function supervise(endsInMs: number, latestInMs: number, expiry?: string): Promise<number> {
  if (expiry !== undefined) await writeFile(join(directory, 'expiry'), expiry)
  const now = Date.now()
  const before = await bootSeconds()
  const child = spawn('/bin/sh', [
    '-c',
    SHELL_SUPERVISOR,
    'sh',
    String(now + endsInMs),
    String(now + latestInMs),
    directory,
  ])
  const [code] = (await once(child, 'exit')) as [number | null]
  expect(code).toBe(0)
  return (await bootSeconds()) - before
}

async function bootSeconds(): Promise<number> {
  return Number((await readFile('/proc/uptime', 'utf8')).split(' ')[0])
}
const expiryIn = async (seconds: number): Promise<string> =>
  `${String(Math.round((await bootSeconds()) * 1000 + seconds * 1000)).padStart(20, '0')}\n`

test.skipIf(process.platform !== 'linux')(
  'the shell ends at the end, at a later one it was given, never beyond the latest',
  async () => {
    await rm(join(directory, 'expiry'), { force: true })
    expect(await supervise(-1000, 60_000)).toBeLessThan(30)
    expect(await supervise(-1000, 60_000, await expiryIn(2))).toBeGreaterThanOrEqual(1)
    expect(await supervise(-1000, -1000, await expiryIn(3600))).toBeLessThan(30)
    expect(await supervise(-1000, 60_000, 'broken $(exit 3)\n')).toBeLessThan(30)
  },
)

test('it holds where words are split and globbed as POSIX says: no syntax beyond sh', async () => {
  const args = await supervisorArguments(1, 2, ['true'])
  await promisify(execFile)('/bin/sh', ['-n', ...args.slice(0, 2)])
  await promisify(execFile)('/bin/sh', ['-n', '-c', SHELL_SUPERVISOR])
  // One word of an argv may hold 128 KiB.
  expect(Math.max(...args.map((word) => Buffer.byteLength(word)))).toBeLessThan(128 * 1024)
})
