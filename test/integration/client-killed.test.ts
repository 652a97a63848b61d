import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { attach, gc, list, remove } from '../../src/index.ts'

const on = 'local/direct'
const home = mkdtempSync(join(tmpdir(), 'anyplace-killed-'))

beforeAll(() => {
  vi.stubEnv('ANYPLACE_HOME', home)
})
afterAll(async () => {
  for await (const { id } of list({ on })) await remove(id, { on })
  vi.unstubAllEnvs()
  rmSync(home, { recursive: true, force: true })
})

/** Starts a client, waits until its command runs, and kills it with -9. */
async function killedClient(options: object): Promise<{ id: string; process: string }> {
  const argv = ['--import', 'tsx', 'test/fixtures/client.ts', JSON.stringify({ on, timeoutMs: 120_000, ...options })]
  const child = spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'inherit'] })
  let printed = ''
  for await (const chunk of child.stdout) {
    printed += String(chunk)
    if (printed.includes('\n')) break
  }
  const exited = once(child, 'exit')
  child.kill('SIGKILL')
  await exited
  return JSON.parse(printed) as { id: string; process: string }
}

test('after kill -9 of their clients gc removes what was owned, keeps what was detached, and attach finds it', async () => {
  const [owned, detached, named] = await Promise.all([
    killedClient({}),
    killedClient({ detached: true }),
    killedClient({ name: 'kept' }),
  ])
  const dry = await gc({ on, dryRun: true })
  expect(dry.removed.map(({ id }) => id)).toEqual([owned.id])
  const report = await gc({ on })
  expect(report.removed.map(({ id }) => id)).toEqual([owned.id])
  expect(report.failed).toEqual([])
  expect(report.kept.map(({ id }) => id).sort()).toEqual([detached.id, named.id].sort())
  const left: string[] = []
  for await (const { id } of list({ on })) left.push(id)
  expect(left.sort()).toEqual([detached.id, named.id].sort())

  for (const [nameOrId, command] of [
    [detached.id, detached.process],
    ['kept', named.process],
  ] as const) {
    await using box = await attach(nameOrId, { on })
    const job = await box.attach(command)
    const [output, { exitCode }] = await Promise.all([text(job.stdout), job.wait()])
    expect({ output, exitCode }).toEqual({ output: 'line 1\nline 2\nline 3\n', exitCode: 5 })
    await box.close()
  }
}, 60_000)
