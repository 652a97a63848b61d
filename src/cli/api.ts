import type * as nodes from '../nodes/open.ts'
import type * as probes from '../nodes/probe/probe.ts'

/** What the command line calls of the library. */
export type CliApi = Pick<typeof nodes, 'open' | 'attach' | 'list' | 'gc' | 'remove' | 'doctor'> &
  Pick<typeof probes, 'probe'>

export type CliSandbox = Awaited<ReturnType<CliApi['attach']>>

/** Imported when a command runs, never for help or completion. */
export async function loadApi(): Promise<CliApi> {
  const [nodes, { probe }] = await Promise.all([import('../nodes/open.ts'), import('../nodes/probe/probe.ts')])
  return { ...nodes, probe }
}
