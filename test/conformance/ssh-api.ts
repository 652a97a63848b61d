import process from 'node:process'
import { fileURLToPath } from 'node:url'
import type { Power, Reach, Target, TestedApi, TestedOptions } from '../../conformance/index.ts'
import type { Provider } from '../../src/spec/index.ts'
import { sshProvider } from '../../src/providers/ssh/index.ts'
import { attachSandbox } from '../../src/sandboxes/attach-sandbox.ts'
import { collectGarbage } from '../../src/sandboxes/gc.ts'
import { openSandbox } from '../../src/sandboxes/open-sandbox.ts'
import { labTarget, SSH_LAB, sshLabProblem } from '../support/ssh-lab.ts'
import type { LabServer } from '../support/ssh-lab.ts'
import { leftovers, records } from './traces.ts'

export type SshEngine = 'direct' | 'namespace' | 'docker'

/** The library's functions over a host of the lab instead of a node's name; `on` is `ssh/ENGINE`. */
export const sshApi: TestedApi = {
  open: async ({ on, ...options }) => openSandbox(context(on), options),
  attach: async (name, { on, ...options } = {}) => attachSandbox(context(on), name, options),
  list: ({ on, ...options } = {}) => context(on).provider.list(options),
  gc: async ({ on, ...options } = {}) => collectGarbage(context(on), options),
  async remove(name, { on, ...options } = {}) {
    const { provider } = context(on)
    for await (const info of provider.list(options))
      if (info.id === name || info.name === name) await provider.remove(info.id, options)
  },
}

const contexts = new Map<string, { readonly provider: Provider; readonly engine: SshEngine }>()

function context(on = '') {
  const engine = on.split('/')[1] as SshEngine
  let known = contexts.get(engine)
  if (known === undefined) {
    // Another client process inherits these.
    const { ANYPLACE_TEST_SSH_SERVER: server = 'target', ANYPLACE_TEST_SSH_WORKSPACE: workspace } = process.env
    known = { provider: sshProvider(labTarget(server as LabServer, { workspace }), { engine }), engine }
    contexts.set(engine, known)
  }
  return known
}

/** One engine of a host behind SSH. */
export function sshTarget(
  engine: SshEngine,
  options: {
    readonly name: string
    readonly workspace: string
    readonly powers: readonly Power[]
    readonly server?: LabServer
    readonly spec?: TestedOptions
    readonly knownFailures?: Readonly<Record<string, string>>
    readonly manyAtOnce?: number
  },
): Target {
  const { name, server = 'target', workspace, ...rest } = options
  process.env['ANYPLACE_TEST_SSH_SERVER'] = server
  process.env['ANYPLACE_TEST_SSH_WORKSPACE'] = workspace
  return {
    name,
    on: `ssh/${engine}`,
    api: sshApi,
    otherClient: [process.execPath, '--import', 'tsx', fileURLToPath(new URL('./ssh-client.ts', import.meta.url))],
    leftovers: (...ids) => leftovers(ids, workspace),
    records: (id) => records(id, workspace),
    reach: () => reach(engine),
    ...rest,
  }
}

async function reach(engine: SshEngine): Promise<Reach> {
  const problem = sshLabProblem()
  const howToEnable = 'ANYPLACE_TEST_SSH=$(test/lab/sshd-up)'
  if (problem !== undefined) return { reached: false, why: problem, howToEnable }
  const findings = await context(`ssh/${engine}`).provider.check()
  const failed = findings.find(({ subject, status }) => ['ssh', engine].includes(subject) && status === 'unavailable')
  if (failed !== undefined) return { reached: false, why: failed.message, howToEnable: failed.hint ?? howToEnable }
  return { reached: true, note: `${SSH_LAB}: ${findings.find(({ subject }) => subject === engine)?.message ?? ''}` }
}

/** Whether the host can hold the limits of `namespace`: what doctor says decides which half is checked. */
export async function hasLimits(workspace: string): Promise<boolean> {
  if (sshLabProblem() !== undefined) return false
  const findings = await sshProvider(labTarget('target', { workspace })).check()
  return findings.find(({ subject }) => subject === 'cgroups')?.status === 'ok'
}
