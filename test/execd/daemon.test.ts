import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

test("the daemon's own unit tests pass", { timeout: 120_000 }, () => {
  const file = fileURLToPath(new URL('./test_daemon.py', import.meta.url))
  const { status, stderr } = spawnSync('python3', ['-B', file], { encoding: 'utf8' })
  const ran = Number(/Ran (\d+) tests/.exec(stderr)?.[1] ?? 0)
  expect(stderr).toMatch(/\nOK\b/)
  expect(status).toBe(0)
  expect(ran).toBeGreaterThanOrEqual(13)
})
