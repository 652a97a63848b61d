import { mkdtempSync, rmSync } from 'node:fs'
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import { afterAll } from 'vitest'
import type { Finding } from '../../src/spec/index.ts'
import type { Power, Reach, Target, TestedOptions } from '../../conformance/index.ts'
import { attach, doctor, gc, list, open, remove } from '../../src/index.ts'
import { addNode } from '../../src/nodes/registry/nodes.ts'
import { closeHostLinks } from '../../src/providers/ssh/index.ts'
import { labTarget, sshLabProblem, stateWithPins } from '../support/ssh-lab.ts'
import type { LabServer } from '../support/ssh-lab.ts'
import { leftovers, records } from './traces.ts'

const NODE = 'lab'
const HOW_TO_ENABLE = 'ANYPLACE_TEST_SSH=$(test/lab/sshd-up) npm test'

/** A node of this test file's own on one of the lab's servers, which are this machine. */
export interface SshLabNode {
  readonly workspace: string
  /** What doctor says of the node; nothing when there is no lab. */
  readonly findings: readonly Finding[]
}

/** Adds the node to a state directory of the file's own; both are removed at its end. */
export async function sshLabNode(server: LabServer = 'target'): Promise<SshLabNode> {
  const workspace = mkdtempSync('/tmp/anyplace-ssh-test-')
  const problem = sshLabProblem()
  const state = problem === undefined ? stateWithPins() : undefined
  afterAll(async () => {
    await closeHostLinks()
    state?.remove()
    rmSync(workspace, { recursive: true, force: true })
  })
  if (problem !== undefined) return { workspace, findings: [] }
  const { host, port, username, identity } = labTarget(server)
  const identityFile = identity.kind === 'file' ? identity.path : undefined
  await addNode(NODE, { type: 'ssh', host, port, username, identityFile, workspace })
  return { workspace, findings: await doctor({ on: NODE }) }
}

/** One engine of a host behind SSH. */
export function sshTarget(
  engine: 'direct' | 'namespace' | 'docker',
  { workspace, findings }: SshLabNode,
  options: {
    readonly name?: string
    readonly powers: readonly Power[]
    readonly spec?: TestedOptions
    readonly manyAtOnce?: number
  },
): Target {
  return {
    name: `ssh-${engine}`,
    on: `${NODE}/${engine}`,
    provider: 'ssh',
    api: { open, attach, list, gc, remove },
    otherClient: [process.execPath, '--import', 'tsx', fileURLToPath(new URL('./other-client.ts', import.meta.url))],
    leftovers: (...ids) => leftovers(ids, workspace),
    records: (id) => records(id, workspace),
    reach: async () => reach(engine, findings),
    ...options,
  }
}

function reach(engine: string, findings: readonly Finding[]): Reach {
  const problem = sshLabProblem()
  if (problem !== undefined) return { reached: false, why: problem, howToEnable: HOW_TO_ENABLE }
  const failed = findings.find(({ subject, status }) => ['ssh', engine].includes(subject) && status === 'unavailable')
  if (failed !== undefined) return { reached: false, why: failed.message, howToEnable: failed.hint ?? HOW_TO_ENABLE }
  return { reached: true, note: findings.find(({ subject }) => subject === 'ssh')?.message ?? '' }
}
