import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { poolPlaces } from '../support/pool-places.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const places = await poolPlaces()

function run(example: string, on: string, words: readonly string[] = []): string {
  const home = mkdtempSync(join(tmpdir(), 'anyplace-docs-'))
  try {
    const tsx = join(root, 'node_modules/tsx/dist/cli.mjs')
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [tsx, '--tsconfig', join(root, 'tsconfig.json'), join(root, example), ...words],
      { cwd: home, encoding: 'utf8', env: { ...process.env, ANYPLACE_HOME: home, ANYPLACE_ON: on } },
    )
    expect(stderr).toBe('')
    expect(status).toBe(0)
    return stdout
  } finally {
    rmSync(home, { recursive: true, force: true })
  }
}

test('there is an engine that can hold slots', () => {
  expect(places.length).toBeGreaterThan(0)
})

for (const { name } of places) {
  test(`examples/pools.ts runs on ${name}`, { timeout: 120_000 }, () => {
    const out = run('examples/pools.ts', `local/${name}`)
    expect(out).toContain('true 0 /data/s0\n42\n')
    expect(out).toContain("[ 'small', 'big' ]")
  })

  test(`examples/rl-trajectories learns on ${name}`, { timeout: 120_000 }, () => {
    const out = run('examples/rl-trajectories/run.ts', `local/${name}`, ['24'])
    expect(out).toMatch(/^24 trajectories, \d+ programs written and tested/)
    expect(out).toContain('masked because of the place, not of the program: 0')
  })
}
