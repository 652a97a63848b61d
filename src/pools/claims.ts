import { AnyplaceError } from '../spec/index.ts'
import type { Owner } from '../spec/index.ts'
import type { JsonValue, Store } from '../store/index.ts'
import { ownerState, thisProcess } from '../sandboxes/owner.ts'
import type { OwnerState } from '../sandboxes/owner.ts'
import { sandboxRecordOf } from './sandbox-record.ts'
import type { SandboxRecord } from './sandbox-record.ts'

/** Where the store keeps pools' sandboxes: `sandbox/POOL/PLACE`. */
export const POOLS_NAMESPACE = 'pools'
/** Tokens that a killed controller may have given out without writing them down. */
const SEQUENCE_GAP = 1_000_000

/** A place of a pool: the n-th sandbox, with what the store says of it. */
export interface PlaceEntry {
  readonly place: number
  readonly record: SandboxRecord
  readonly version: number
}

/**
 * The sandboxes of one pool in the store. One controller at a time owns a sandbox and hands out its slots from memory; so two
 * controllers never hand out one slot twice, and taking a slot needs no write.
 */
export class Claims {
  /** Tells this controller from every other one. */
  readonly controller: string
  readonly #store: Store
  readonly #pool: string
  readonly #ownerState: (owner: Owner) => Promise<OwnerState>

  constructor(
    store: Store,
    pool: string,
    controller: string,
    check: (owner: Owner) => Promise<OwnerState> = ownerState,
  ) {
    this.#store = store
    this.#pool = pool
    this.controller = controller
    this.#ownerState = check
  }

  /** All sandboxes of the pool that the store knows, by place. */
  async list(): Promise<readonly PlaceEntry[]> {
    const prefix = `sandbox/${this.#pool}/`
    const entries: PlaceEntry[] = []
    for (const { key, value, version } of await this.#store.list(POOLS_NAMESPACE, prefix)) {
      const record = sandboxRecordOf(value)
      if (record !== undefined) entries.push({ place: Number(key.slice(prefix.length)), record, version })
    }
    return entries
  }

  /** Whose a sandbox is: ours, nobody's (also when its owner is proven dead or its time is over), or another's. */
  async standing(record: SandboxRecord): Promise<'ours' | 'free' | 'taken'> {
    if (record.owner === null || record.expiresAtMs <= Date.now()) return 'free'
    if (record.controller === this.controller) return 'ours'
    return (await this.#ownerState(record.owner)) === 'dead' ? 'free' : 'taken'
  }

  /** Takes a place that the store does not know; undefined when another controller was faster. */
  async begin(place: number, name: string, expiresAtMs: number): Promise<Claim | undefined> {
    const record: SandboxRecord = {
      name,
      owner: await thisProcess(),
      controller: this.controller,
      sandboxId: '',
      sequence: 0,
      uidUnits: [],
      isSettled: false,
      createdAtMs: Date.now(),
      expiresAtMs,
      slots: 0,
      leases: [],
    }
    return this.#take(place, record, 0)
  }

  /** Takes over a sandbox that is nobody's; undefined when another controller was faster. */
  async takeOver(entry: PlaceEntry): Promise<Claim | undefined> {
    const record: SandboxRecord = {
      ...entry.record,
      owner: await thisProcess(),
      controller: this.controller,
      sequence: entry.record.sequence + SEQUENCE_GAP,
      isSettled: false,
    }
    return this.#take(entry.place, record, entry.version)
  }

  async #take(place: number, record: SandboxRecord, version: number): Promise<Claim | undefined> {
    const key = `sandbox/${this.#pool}/${String(place).padStart(6, '0')}`
    const taken = await this.#store.compareAndSet(POOLS_NAMESPACE, key, version, record as unknown as JsonValue)
    return taken === undefined ? undefined : new Claim(this.#store, key, place, record, taken)
  }
}

/**
 * Our right to one sandbox, and its record. Changes are collected and written together, soon; `written` says when. A record
 * that somebody else has changed means that the right is lost: `lost` then settles, and nothing more is written.
 */
export class Claim {
  readonly place: number
  readonly lost: Promise<AnyplaceError>
  readonly #store: Store
  readonly #key: string
  #record: SandboxRecord
  #version: number
  #hasChanged = false
  #writing: Promise<void> | undefined
  #failure: AnyplaceError | undefined
  #settleLost: (error: AnyplaceError) => void = () => undefined

  constructor(store: Store, key: string, place: number, record: SandboxRecord, version: number) {
    this.#store = store
    this.#key = key
    this.place = place
    this.#record = record
    this.#version = version
    this.lost = new Promise((resolve) => {
      this.#settleLost = resolve
    })
  }

  get record(): SandboxRecord {
    return this.#record
  }

  /** Changes the record in memory at once and in the store soon. */
  update(change: Partial<SandboxRecord>): void {
    this.#record = { ...this.#record, ...change }
    this.#hasChanged = true
    // A failure is told by `written` and by `lost`.
    void this.#write().catch(() => undefined)
  }

  /**
   * Resolves when everything changed until now is on disk.
   *
   * @throws AnyplaceError `conflict` when the sandbox is no longer ours
   */
  async written(): Promise<void> {
    await this.#write()
  }

  /** Removes the record: the sandbox has gone. */
  async forget(): Promise<void> {
    await this.#writing?.catch(() => undefined)
    this.#hasChanged = false
    if (this.#failure === undefined) await this.#store.delete(POOLS_NAMESPACE, this.#key, this.#version)
  }

  #write(): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    if (!this.#hasChanged && this.#writing === undefined) return Promise.resolve()
    this.#writing ??= this.#writeAll().finally(() => {
      this.#writing = undefined
    })
    return this.#writing
  }

  async #writeAll(): Promise<void> {
    // Let everything that happens in this turn of the event loop into one write.
    await new Promise((resolve) => setImmediate(resolve))
    while (this.#hasChanged) {
      this.#hasChanged = false
      const version = await this.#store.compareAndSet(
        POOLS_NAMESPACE,
        this.#key,
        this.#version,
        this.#record as unknown as JsonValue,
      )
      if (version === undefined) {
        this.#failure = new AnyplaceError(
          'conflict',
          `Another controller has taken over sandbox ${JSON.stringify(this.#record.name)}.`,
          { data: { sandbox: this.#record.name } },
        )
        this.#settleLost(this.#failure)
        throw this.#failure
      }
      this.#version = version
    }
  }
}
