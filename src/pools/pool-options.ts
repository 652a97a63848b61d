import type { CallOptions } from '../spec/index.ts'
import type { Store } from '../store/index.ts'
import type { LoadedProfile, PoolProfile, ProfileInput, ResetStrategy } from './profile.ts'
import type { SandboxSource } from './sandbox-source.ts'

/** Values of the secrets that a profile names. */
export type SecretResolver = (name: string) => Promise<Readonly<Record<string, string>>>

/** What pools of every kind take. */
export interface CommonPoolOptions {
  /** Turns of the tenants, such as `{ training: 3, evaluation: 1 }`. @default 1 for each */
  readonly tenants?: Readonly<Record<string, number>> | undefined
  /** Gives the variables of a secret that the profile names. Without it a profile with secrets is refused. */
  readonly resolveSecret?: SecretResolver | undefined
  /** The sandboxes live on when the pool is stopped or disposed, for the next controller. @default false */
  readonly detached?: boolean | undefined
  /** How long the leases that a killed controller left are kept for `resume`. @default 60_000 */
  readonly resumeWithinMs?: number | undefined
  /** Called with short facts, such as a slot that could not be made clean. */
  readonly onEvent?: ((event: PoolEvent) => void) | undefined
}

/** What a pool of one profile is made of. */
export interface PoolParts extends CommonPoolOptions {
  readonly loaded: LoadedProfile
  readonly source: SandboxSource
  readonly store: Store
  /** Called when everything is stopped: closes the store if it is ours. */
  readonly onStopped?: (() => Promise<void>) | undefined
}

export type PoolEvent =
  | { readonly kind: 'sandbox-opened' | 'sandbox-lost'; readonly sandbox: string; readonly reason?: string }
  | { readonly kind: 'slot-quarantined'; readonly slotId: string; readonly left: readonly string[] }
  | { readonly kind: 'open-failed'; readonly reason: string }

export interface AcquireOptions extends CallOptions {
  /** @default the pool's own, or `default` */
  readonly profile?: string | undefined
  /** Who waits in one line; lines take turns by weight. @default '' */
  readonly tenant?: string | undefined
  /** How long to wait for a slot. @default the profile's acquireTimeoutMs */
  readonly timeoutMs?: number | undefined
  /** The slot is taken back after this long. @default until its sandbox ends */
  readonly leaseMs?: number | undefined
}

export interface ReleaseOptions {
  /** How the slot is made clean; true is `clean`, false is `none` (its processes are ended all the same). @default the profile's */
  readonly reset?: boolean | ResetStrategy | undefined
}

/** A lease as any process may know it. */
export interface LeaseReference {
  readonly id: string
  readonly slotId: string
  readonly token: number
}

/** How a pool stands. */
export interface PoolStatus {
  readonly pool: string
  readonly profile: string
  readonly sandboxes: number
  readonly healthySandboxes: number
  readonly minSandboxes: number
  readonly maxSandboxes: number
  readonly starting: number
  readonly slotsPerSandbox: number
  readonly totalSlots: number
  readonly availableSlots: number
  readonly heldSlots: number
  readonly quarantinedSlots: number
  readonly waiting: number
  /** Why the last sandbox could not be opened. */
  readonly lastFailure?: string | undefined
  readonly details: readonly SandboxStatus[]
}

export interface SandboxStatus {
  readonly name: string
  readonly id: string
  readonly state: 'ready' | 'draining'
  readonly createdAt: Date
  readonly expiresAt: Date
  readonly slots: Readonly<Record<'available' | 'acquired' | 'executing' | 'releasing' | 'error', number>>
  readonly trajectories: readonly string[]
}

/** A profile as a pool lists it. */
export interface ProfileSummary extends PoolProfile {
  /** True when its pool runs. */
  readonly active: boolean
}

export type { ProfileInput }
