import type { Owner } from '../spec/index.ts'
import type { JsonValue } from '../store/index.ts'

/** A lease as it is kept in the store. */
export interface LeaseRecord {
  readonly id: string
  /** Name of the slot in its sandbox. */
  readonly slot: string
  readonly trajectoryId: string
  readonly tenant: string
  readonly token: number
  readonly acquiredAtMs: number
  readonly deadlineMs: number
}

/** A sandbox of a pool as it is kept in the store: whose it is, and who has its slots. */
export interface SandboxRecord {
  /** Its name, by which it is found again. */
  readonly name: string
  /** The controller that hands out its slots; null when it was left to whoever comes next. */
  readonly owner: Owner | null
  /** Tells two controllers of one process apart. */
  readonly controller: string
  /** Id of the sandbox; empty until it is open. */
  readonly sandboxId: string
  /** The last fencing token given out; grows only. */
  readonly sequence: number
  /** Units of uids that are this sandbox's. */
  readonly uidUnits: readonly number[]
  /** True when every slot without a lease is known to be clean: never while a controller works with it. */
  readonly isSettled: boolean
  readonly createdAtMs: number
  readonly expiresAtMs: number
  /** How many slots it has. */
  readonly slots: number
  readonly leases: readonly LeaseRecord[]
}

/** A record out of the store; undefined for anything that is none. */
export function sandboxRecordOf(value: JsonValue): SandboxRecord | undefined {
  const isRecord = typeof value === 'object' && value !== null && 'leases' in value && 'controller' in value
  return isRecord ? (value as unknown as SandboxRecord) : undefined
}
