import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

test.each([
  ['test_daemon.py', 26],
  ['test_served.py', 11],
])("the daemon's own tests in %s pass", { timeout: 180_000 }, (name, least) => {
  const file = fileURLToPath(new URL(name, import.meta.url))
  const { status, stderr } = spawnSync('python3', ['-B', file], { encoding: 'utf8' })
  expect(stderr).toMatch(/\nOK\b/)
  expect(status).toBe(0)
  expect(Number(/Ran (\d+) tests/.exec(stderr)?.[1] ?? 0)).toBeGreaterThanOrEqual(least)
})
