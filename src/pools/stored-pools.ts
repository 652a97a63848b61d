import type { Store } from '../store/index.ts'
import { ownerState } from '../sandboxes/owner.ts'
import { POOLS_NAMESPACE } from './claims.ts'
import { sandboxRecordOf } from './sandbox-record.ts'

/** A pool's sandbox as the store tells it, to anyone. */
export interface StoredSandbox {
  readonly name: string
  readonly id: string
  /** `held`: a controller that lives, or may live, hands out its slots. `free`: whoever comes next does. `opening`: not open yet. */
  readonly state: 'held' | 'free' | 'opening'
  /** Process id of the controller, when one holds it. */
  readonly controllerPid?: number | undefined
  readonly slots: number
  readonly createdAt: Date
  readonly expiresAt: Date
  readonly leases: readonly {
    readonly id: string
    readonly slotId: string
    readonly trajectoryId: string
    readonly tenant: string
    readonly token: number
    readonly acquiredAt: Date
    readonly deadline: Date
  }[]
}

/** A pool as the store tells it. */
export interface StoredPool {
  readonly pool: string
  readonly sandboxes: readonly StoredSandbox[]
}

/** All pools that have a sandbox, whoever controls them. */
export async function storedPools(store: Store): Promise<readonly StoredPool[]> {
  const pools = new Map<string, StoredSandbox[]>()
  for (const { key, value } of await store.list(POOLS_NAMESPACE, 'sandbox/')) {
    const record = sandboxRecordOf(value)
    const pool = key.split('/')[1]
    if (record === undefined || pool === undefined || record.expiresAtMs <= Date.now()) continue
    const isFree = record.owner === null || (await ownerState(record.owner)) === 'dead'
    const sandbox: StoredSandbox = {
      name: record.name,
      id: record.sandboxId,
      state: isFree ? 'free' : record.sandboxId === '' ? 'opening' : 'held',
      ...(isFree || record.owner === null ? {} : { controllerPid: record.owner.pid }),
      slots: record.slots,
      createdAt: new Date(record.createdAtMs),
      expiresAt: new Date(record.expiresAtMs),
      leases: record.leases.map(({ id, slot, trajectoryId, tenant, token, acquiredAtMs, deadlineMs }) => ({
        id,
        slotId: `${record.sandboxId}/${slot}`,
        trajectoryId,
        tenant,
        token,
        acquiredAt: new Date(acquiredAtMs),
        deadline: new Date(deadlineMs),
      })),
    }
    pools.set(pool, [...(pools.get(pool) ?? []), sandbox])
  }
  return [...pools].map(([pool, sandboxes]) => ({ pool, sandboxes }))
}
