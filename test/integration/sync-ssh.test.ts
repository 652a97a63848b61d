import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import process from 'node:process'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { runProbe } from '../../src/nodes/probe/run-probe.ts'
import { closeHostLinks, sshProvider } from '../../src/providers/ssh/index.ts'
import { openSandbox } from '../../src/sandboxes/open-sandbox.ts'
import type { Sandbox } from '../../src/sandboxes/sandbox.ts'
import { labTarget, sshLabProblem, stateWithPins } from '../support/ssh-lab.ts'

const problem = sshLabProblem()
const expected = (process.env['ANYPLACE_EXPECT'] ?? '').split(',').some((name) => name.startsWith('ssh-'))
if (problem !== undefined && expected) throw new Error(`ANYPLACE_EXPECT names ssh targets, but ${problem}`)

describe.skipIf(problem !== undefined)(`behind ssh${problem === undefined ? '' : ` (${problem})`}`, () => {
  let state: ReturnType<typeof stateWithPins>
  let workspace: string
  beforeAll(() => {
    state = stateWithPins()
    workspace = mkdtempSync('/tmp/anyplace-sync-ssh-')
  })
  afterAll(async () => {
    await closeHostLinks()
    state.remove()
    rmSync(workspace, { recursive: true, force: true })
  })

  const openAt = (server: 'jump' | 'plain'): Promise<Sandbox> =>
    openSandbox(
      { provider: sshProvider(labTarget(server, { workspace: join(workspace, server) })), engine: 'direct' },
      { timeoutMs: 120_000 },
    )
  const same = (one: string, other: string): void => void execFileSync('diff', ['-r', one, other])

  test.each(['jump', 'plain'] as const)('trees go both ways, and what did not change stays (%s)', async (server) => {
    await using box = await openAt(server)
    const folder = join(workspace, `source-${server}`)
    mkdirSync(join(folder, 'in/ner'), { recursive: true })
    for (let i = 0; i < 200; i++) writeFileSync(join(folder, 'in', `f${i}`), `${i}`)
    writeFileSync(join(folder, 'big'), Buffer.alloc(9_000_000, 'some text that fills it '))
    expect(await box.sync.up(folder, 't')).toMatchObject({ files: 201 })
    expect(await box.sync.up(folder, 't')).toMatchObject({ files: 0, unchanged: 201 })
    const bytes = readFileSync(join(folder, 'big'))
    bytes.write('CHANGED', 4_000_000)
    writeFileSync(join(folder, 'big'), bytes)
    rmSync(join(folder, 'in/f7'))
    expect(await box.sync.up(folder, 't', { delete: true })).toMatchObject({ files: 1, deleted: 1 })
    const back = join(workspace, `back-${server}`)
    await box.sync.down('t', back)
    same(folder, back)
    expect(await box.sync.down('t', back)).toMatchObject({ files: 0, unchanged: 200 })
  })

  test.each(['jump', 'plain'] as const)('the probe (%s)', async (server) => {
    const machine = await sshProvider(labTarget(server, { workspace })).machine?.()
    if (machine === undefined) throw new Error('a host behind ssh is a machine')
    const report = await runProbe(server, machine)
    expect(report.os).toMatchObject({ kernel: 'Linux', distribution: expect.any(String) as string })
    expect(report.disk.path).toBe(workspace)
    expect(report.cpu.cores).toBeGreaterThan(0)
    expect(report.problems).not.toContainEqual(expect.stringMatching(/end never came/))
  })
})
