import { mkdtempSync, rmSync } from 'node:fs'
import { afterAll } from 'vitest'
import { closeHostLinks } from '../../src/providers/ssh/index.ts'
import { sshLabProblem, stateWithPins } from '../support/ssh-lab.ts'

/** A workspace of this test file's own on the lab's hosts, which are this machine; removed at its end. */
export function ownWorkspace(): string {
  const workspace = mkdtempSync('/tmp/anyplace-ssh-test-')
  const state = sshLabProblem() === undefined ? stateWithPins() : undefined
  afterAll(async () => {
    await closeHostLinks()
    state?.remove()
    rmSync(workspace, { recursive: true, force: true })
  })
  return workspace
}
