import type { StandingPool } from '../nodes/standing-pools.ts'
import { formatDuration } from './parse-duration.ts'
import { table } from './table.ts'

const BAR_WIDTH = 20
const SHOWN_TRAJECTORIES = 3

/** Pools with their sandboxes, for people. */
export function poolTable(pools: readonly StandingPool[], now: number = Date.now()): string {
  if (pools.length === 0) return 'No pools. Start one: anyplace pools up\n'
  return pools.map((pool) => onePool(pool, now)).join('\n')
}

function onePool(pool: StandingPool, now: number): string {
  const { sandboxes, minSandboxes, maxSandboxes, on, image } = pool
  const slots = sandboxes.reduce((sum, sandbox) => sum + sandbox.slots, 0)
  const leases = sandboxes.reduce((sum, sandbox) => sum + sandbox.leases.length, 0)
  const head =
    `${pool.pool}  ${on ?? 'default node'}  ${image}\n` +
    `  ${bar(leases, slots)} ${leases} of ${slots} slots leased, ${sandboxes.length} sandboxes (${minSandboxes} to ${maxSandboxes})\n`
  if (sandboxes.length === 0) return head
  const rows = sandboxes.map((sandbox) => [
    `  ${sandbox.name}`,
    sandbox.controllerPid === undefined ? sandbox.state : `${sandbox.state} by process ${sandbox.controllerPid}`,
    `${sandbox.leases.length}/${sandbox.slots}`,
    formatDuration(now - sandbox.createdAt.getTime()),
    `in ${formatDuration(sandbox.expiresAt.getTime() - now)}`,
    trajectories(sandbox.leases.map(({ trajectoryId }) => trajectoryId)),
  ])
  return head + table(['  SANDBOX', 'STATE', 'SLOTS', 'AGE', 'ENDS', 'TRAJECTORIES'], rows)
}

function bar(part: number, whole: number): string {
  const filled = whole === 0 ? 0 : Math.round((part / whole) * BAR_WIDTH)
  return `[${'#'.repeat(filled)}${'.'.repeat(BAR_WIDTH - filled)}]`
}

function trajectories(ids: readonly string[]): string {
  if (ids.length === 0) return '-'
  const more = ids.length - SHOWN_TRAJECTORIES
  return ids.slice(0, SHOWN_TRAJECTORIES).join(', ') + (more > 0 ? ` and ${more} more` : '')
}
