import type { SlotShell } from '../spec/index.ts'
import type { Lease } from './lease.ts'
import type { PoolSandbox } from './pool-sandbox.ts'
import type { LedgerSlot } from './slot-ledger.ts'

/** A lease and what belongs to it while it holds. */
export interface Holding {
  readonly lease: Lease
  readonly sandbox: PoolSandbox
  readonly slot: LedgerSlot<PoolSandbox>
  /** Name of the slot in its sandbox. */
  readonly name: string
  /** True when the lease is on disk; nothing runs in the slot before. */
  isRecorded: boolean
  /** Calls that are not finished. */
  outstanding: number
  /** Settles when the last call that was given is finished; calls of one slot run one after another. */
  tail: Promise<unknown> | undefined
  shell: SlotShell | undefined
  timer: NodeJS.Timeout | undefined
}
