import type { Fleet } from './fleet.ts'
import type { Holding } from './holding.ts'
import type { PoolStatus, SandboxStatus } from './pool-options.ts'
import type { PoolSandbox } from './pool-sandbox.ts'
import type { PoolProfile } from './profile.ts'
import type { SlotLedger } from './slot-ledger.ts'

/** How a pool stands, from its parts. */
export function poolStatus<Waiter>(
  name: string,
  profile: PoolProfile,
  ledger: SlotLedger<PoolSandbox, Waiter>,
  fleet: Fleet,
  keeping: { readonly quarantined: number },
  held: readonly Holding[],
): PoolStatus {
  const details = [...fleet.sandboxes].map((sandbox): SandboxStatus => {
    const slots = { available: 0, acquired: 0, executing: 0, releasing: 0, error: 0 }
    for (const { state } of ledger.slotsOf(sandbox)) slots[state]++
    return {
      name: sandbox.name,
      id: sandbox.box.id,
      state: sandbox.isDraining ? 'draining' : 'ready',
      createdAt: new Date(sandbox.createdAtMs),
      expiresAt: new Date(sandbox.expiresAtMs),
      slots,
      trajectories: held.filter((one) => one.sandbox === sandbox).map(({ lease }) => lease.trajectoryId),
    }
  })
  return {
    pool: name,
    profile: profile.name,
    sandboxes: details.length,
    healthySandboxes: [...fleet.sandboxes].filter(({ missedChecks }) => missedChecks === 0).length,
    minSandboxes: profile.minSandboxes,
    maxSandboxes: profile.maxSandboxes,
    starting: fleet.starting,
    slotsPerSandbox: profile.slotsPerSandbox,
    totalSlots: details.reduce((sum, { slots }) => sum + Object.values(slots).reduce((a, b) => a + b, 0), 0),
    availableSlots: ledger.free,
    heldSlots: held.length,
    quarantinedSlots: keeping.quarantined,
    waiting: ledger.waiting,
    ...(fleet.lastFailure === undefined ? {} : { lastFailure: fleet.lastFailure.message }),
    details,
  }
}
