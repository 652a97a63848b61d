import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))

test('the code in the docs is the code of the examples', () => {
  const { status, stdout, stderr } = spawnSync('node', ['scripts/doc-snippets.mjs', '--check'], {
    cwd: root,
    encoding: 'utf8',
  })
  expect(stderr).toBe('')
  expect(status).toBe(0)
  expect(Number(/^(\d+) snippets/.exec(stdout)?.[1])).toBeGreaterThanOrEqual(7)
})

test.each(['readme', 'sandboxes'])('examples/%s.ts runs', { timeout: 120_000 }, (name) => {
  const home = mkdtempSync(join(tmpdir(), 'anyplace-docs-'))
  try {
    const tsx = join(root, 'node_modules/tsx/dist/cli.mjs')
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [tsx, '--tsconfig', join(root, 'tsconfig.json'), join(root, `examples/${name}.ts`)],
      { cwd: home, encoding: 'utf8', env: { ...process.env, ANYPLACE_HOME: home, ANYPLACE_ON: 'local/direct' } },
    )
    expect(stderr).toBe('')
    expect(status).toBe(0)
    expect(stdout).toContain(name === 'readme' ? '42 0\nhello 1\nhello 2\nhello 3' : 'true 124 started')
  } finally {
    rmSync(home, { recursive: true, force: true })
  }
})
