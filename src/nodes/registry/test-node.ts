import { access, constants } from 'node:fs/promises'
import { AnyplaceError } from '../../spec/index.ts'
import type { CallOptions } from '../../spec/index.ts'
import { throwIfAborted } from '../../kit/deadline.ts'
import { fileError } from '../../kit/file-error.ts'
import { resolveNode } from '../resolve-node.ts'
import type { ResolvedNode } from '../resolve-node.ts'
import type { SshNodeConfig } from './node-records.ts'
import { saveHealth } from './nodes.ts'

/** One thing that was tried. */
export interface NodeTestStep {
  /** `key`, `connect`, and then what the provider looks at: `docker`, `namespace` … */
  readonly step: string
  readonly status: 'ok' | 'warning' | 'unavailable' | 'failed'
  readonly message: string
  readonly hint?: string | undefined
  readonly durationMs: number
}

export interface NodeTest {
  readonly node: string
  /** `ok` when sandboxes can be opened there. */
  readonly state: 'ok' | 'failing'
  readonly steps: readonly NodeTestStep[]
}

/**
 * Connects to a node and tells each step. What it finds is kept as the node's health. That a node does not work is its
 * answer, not a failure.
 *
 * @param options.onStep called as each step ends
 * @throws AnyplaceError `not-found`, `cancelled`
 */
export async function testNode(
  name: string,
  options: CallOptions & { readonly onStep?: ((step: NodeTestStep) => void) | undefined } = {},
): Promise<NodeTest> {
  const { signal, onStep } = options
  const node = await resolveNode(name)
  const steps: NodeTestStep[] = []
  const note = (step: NodeTestStep): void => {
    steps.push(step)
    onStep?.(step)
  }
  for (const { step, work } of stepsOf(node, signal)) {
    const begin = performance.now()
    try {
      const message = await work()
      note({ step, status: 'ok', message, durationMs: since(begin) })
    } catch (error) {
      throwIfAborted(signal)
      if (!AnyplaceError.is(error)) throw error
      note({ step, status: 'failed', message: error.message, hint: error.hint, durationMs: since(begin) })
      break
    }
  }
  if (!steps.some(({ status }) => status === 'failed')) {
    const begin = performance.now()
    const findings = await node.provider.check({ signal })
    for (const { subject, status, message, hint } of findings) {
      if (node.engine !== undefined && isEngine(subject) && subject !== node.engine) continue
      note({ step: subject, status, message, hint, durationMs: since(begin) })
    }
  }
  const failed = steps.find(({ status }) => status === 'failed')
  const works = failed === undefined && steps.some(({ step, status }) => isEngine(step) && status !== 'unavailable')
  const state = works ? 'ok' : 'failing'
  const message = failed?.message ?? (works ? undefined : 'No engine works there.')
  const [saved = name] = name.split('/')
  await saveHealth(saved, { state, checkedAt: new Date(), ...(message === undefined ? {} : { message }) })
  return { node: name, state, steps }
}

function isEngine(subject: string): boolean {
  return ['docker', 'podman', 'namespace', 'direct'].includes(subject)
}

/** What is tried before the provider looks around, each only when all before it worked. */
function stepsOf(
  { config, provider }: ResolvedNode,
  signal: AbortSignal | undefined,
): readonly { readonly step: string; readonly work: () => Promise<string> }[] {
  const connect = async (): Promise<string> => {
    const machine = await provider.machine?.({ signal })
    if (machine === undefined) return provider.type
    const { hostname, platform, architecture, uid } = await machine.facts({ signal })
    return `${hostname}, ${platform} ${architecture}, as user ${uid}`
  }
  if (config.type !== 'ssh') return [{ step: 'connect', work: connect }]
  return [
    { step: 'key', work: () => checkIdentity(config) },
    { step: 'connect', work: connect },
  ]
}

async function checkIdentity({ key, identityFile }: SshNodeConfig): Promise<string> {
  if (key !== undefined) {
    const { fingerprint } = await (await import('../keys/keys.ts')).openKey(key)
    return `${key} (${fingerprint})`
  }
  if (identityFile === undefined) return 'whatever your own ssh uses'
  try {
    await access(identityFile, constants.R_OK)
  } catch (error) {
    throw fileError(error, 'read the key file', identityFile)
  }
  return identityFile
}

function since(begin: number): number {
  return Math.round(performance.now() - begin)
}
