import { AnyplaceError } from '../../spec/index.ts'
import { saveProbe } from '../registry/nodes.ts'
import { resolveNode } from '../resolve-node.ts'
import type { ProbeReport } from './probe-report.ts'
import { runProbe } from './run-probe.ts'
import type { MachineProbeOptions } from './run-probe.ts'

/** What to probe, and how. */
export interface ProbeOptions extends MachineProbeOptions {
  /** A node: `local`, or one that was added. @default ANYPLACE_ON, else the default node */
  readonly on?: string | undefined
}

/**
 * What the machine behind a node is: system, processor, memory, disk of the workspace, GPUs, container runtimes, Python,
 * Node, ssh and rsync, in one round trip. What cannot be found out is missing in the report, and no failure. The last
 * report of a node that was added is kept with it.
 *
 * @example
 * const { gpus, pythons } = await probe({ on: 'gpu-box' })
 * @throws AnyplaceError `not-found` for an unknown node, `unsupported` for a node that is no machine (a cloud),
 *   `timeout`, `protocol-error`, and what connecting to the node fails with
 */
export async function probe(options: ProbeOptions = {}): Promise<ProbeReport> {
  const { on: wanted, ...rest } = options
  const { on, provider, config } = await resolveNode(wanted)
  if (provider.machine === undefined) {
    throw new AnyplaceError('unsupported', `Node ${JSON.stringify(on)} is no machine that could be probed.`, {
      field: 'on',
      hint: `open a sandbox on it and look inside; ${provider.type} gives every sandbox a place of its own`,
    })
  }
  const workspace = rest.workspace ?? (config.type === 'local' ? config.workspace : undefined)
  const report = await runProbe(on, await provider.machine({ signal: rest.signal }), { ...rest, workspace })
  const [name = on] = on.split('/')
  // The built-in node has no record to keep it in.
  if (name !== 'local') await saveProbe(name, report)
  return report
}
