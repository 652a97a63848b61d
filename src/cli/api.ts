import type * as nodes from '../nodes/open.ts'
import type * as pools from '../nodes/standing-pools.ts'
import type * as probes from '../nodes/probe/probe.ts'

/** What the command line calls of the library. */
export type CliApi = Pick<typeof nodes, 'open' | 'attach' | 'list' | 'gc' | 'remove' | 'doctor'> &
  Pick<typeof probes, 'probe'> &
  PoolsApi

/** Pools that outlive the command. */
export type PoolsApi = Pick<typeof pools, 'poolUp' | 'poolDown' | 'poolsStanding' | 'withStandingPool' | 'poolProfiles'>

export type CliSandbox = Awaited<ReturnType<CliApi['attach']>>

/** Imported when a command runs, never for help or completion. */
export async function loadApi(): Promise<CliApi> {
  const [nodes, { probe }] = await Promise.all([import('../nodes/open.ts'), import('../nodes/probe/probe.ts')])
  // Many files, so loaded by the verbs that need them only.
  const pools = () => import('../nodes/standing-pools.ts')
  return {
    ...nodes,
    probe,
    poolUp: async (options) => (await pools()).poolUp(options),
    poolDown: async (options) => (await pools()).poolDown(options),
    poolsStanding: async () => (await pools()).poolsStanding(),
    poolProfiles: async (options) => (await pools()).poolProfiles(options),
    withStandingPool: async (options, work) => (await pools()).withStandingPool(options, work),
  }
}
