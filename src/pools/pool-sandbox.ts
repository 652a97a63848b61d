import { AnyplaceError } from '../spec/index.ts'
import type { CallOptions, ResetReport, Slot, SlotRequest, Slots } from '../spec/index.ts'
import type { Store } from '../store/index.ts'
import { newId } from '../kit/ids.ts'
import type { Claim } from './claims.ts'
import type { Lease } from './lease.ts'
import type { PoolProfile, ResetStrategy } from './profile.ts'
import type { PooledSandbox } from './sandbox-source.ts'
import { giveBackUidUnits, takeUidUnits, UNIT_SIZE } from './uid-units.ts'

const PARALLEL = 8
const HOW_TO_ISOLATE =
  'ask for isolation "user", or for a node that can: engine namespace as root, or Docker with a seccomp profile (docs/slots.md)'

/** What a pool's sandbox is made of. */
export interface PoolSandboxParts {
  readonly box: PooledSandbox
  readonly slots: Slots
  readonly claim: Claim
  readonly profile: PoolProfile
  readonly store: Store
  readonly createdAtMs: number
  readonly expiresAtMs: number
}

/** One sandbox of a pool: makes its slots, resets and replaces them. Whose they are is not its matter. */
export class PoolSandbox {
  readonly box: PooledSandbox
  readonly slots: Slots
  readonly claim: Claim
  readonly createdAtMs: number
  readonly expiresAtMs: number
  readonly #profile: PoolProfile
  readonly #store: Store
  readonly #known = new Map<string, Slot>()
  /** Uids that were tried: in use, or taken. */
  readonly #unusable = new Set<number>()
  /** The sandbox's own uids; without, it needs units that no other sandbox has. */
  #ownRange: { readonly first: number; readonly count: number } | undefined
  /** Leases now, by the slot's name; the lease book keeps them and counts. */
  readonly leases = new Map<string, Lease>()
  held = 0
  /** Slots that could not be made clean. */
  givenUp = 0
  isDraining = false
  idleTimer: NodeJS.Timeout | undefined
  drainTimer: NodeJS.Timeout | undefined
  missedChecks = 0
  isChecking = false

  constructor(parts: PoolSandboxParts) {
    this.box = parts.box
    this.slots = parts.slots
    this.claim = parts.claim
    this.createdAtMs = parts.createdAtMs
    this.expiresAtMs = parts.expiresAtMs
    this.#profile = parts.profile
    this.#store = parts.store
  }

  get name(): string {
    return this.box.name
  }

  /** @throws when there is no such slot, which is a fault of ours */
  slot(name: string): Slot {
    const slot = this.#known.get(name)
    if (slot === undefined) throw new AnyplaceError('internal', `Sandbox ${this.name} has no slot ${name}.`)
    return slot
  }

  /** Unique across pools and controllers: the id of a sandbox is, and a name is used once in it. */
  slotId(name: string): string {
    return `${this.box.id}/${name}`
  }

  /**
   * Sees to it that the sandbox has its slots, and gives them: those that were there and those that were made now.
   *
   * @throws AnyplaceError `unsupported` with field `isolation` and the reason where the level cannot be had
   */
  async prepare(options: CallOptions): Promise<{ readonly found: readonly Slot[]; readonly made: readonly Slot[] }> {
    const info = await this.slots.info(options)
    const { isolation, slotsPerSandbox } = this.#profile
    const refused = info.refused[isolation]
    if (refused !== undefined) {
      throw new AnyplaceError(
        'unsupported',
        `Sandbox ${this.name} cannot isolate slots at level ${isolation}: ${refused}`,
        { field: 'isolation', hint: isolation === 'namespace' ? HOW_TO_ISOLATE : 'choose another engine' },
      )
    }
    this.#ownRange = info.hasOwnUids ? info.uids : undefined
    const found = await this.slots.list(options)
    for (const slot of found) this.#known.set(slot.name, slot)
    const missing: string[] = []
    for (let index = 0; found.length + missing.length < slotsPerSandbox && index < slotsPerSandbox * 2; index++) {
      if (!this.#known.has(`s${index}`)) missing.push(`s${index}`)
    }
    const made: Slot[] = []
    if (missing.length > 0 && !info.hasOwnUids) await this.#takeUids(found.length + missing.length, info.uids)
    const queue = [...missing]
    const workers = Array.from({ length: Math.min(PARALLEL, queue.length) }, async () => {
      for (let name = queue.shift(); name !== undefined; name = queue.shift())
        made.push(await this.#make(name, options))
    })
    await Promise.all(workers)
    return { found, made }
  }

  /** Makes a slot as new. Nothing runs in it afterwards and nothing of its user is left. */
  reset(name: string, strategy: ResetStrategy, options: CallOptions = {}): Promise<ResetReport> {
    return this.slots.reset(name, { strategy }, options)
  }

  /** A new slot with another user instead of one that could not be made clean. */
  async replace(name: string, options: CallOptions = {}): Promise<Slot> {
    const index = /^s(\d+)/.exec(name)?.[1] ?? '0'
    const uid = this.#known.get(name)?.uid
    await this.slots.remove(name, options)
    this.#known.delete(name)
    if (this.#ownRange === undefined)
      await this.#takeUids(this.#known.size + 1, (await this.slots.info(options)).uids, uid)
    return this.#make(`s${index}r${newId().slice(0, 6)}`, options, uid)
  }

  /** Ends the sandbox; its name and its uids are free again. */
  async close(): Promise<void> {
    this.clearTimers()
    await this.box.close()
    await giveBackUidUnits(this.#store, this.claim.record.uidUnits)
    await this.claim.forget()
  }

  clearTimers(): void {
    clearTimeout(this.idleTimer)
    clearTimeout(this.drainTimer)
  }

  async #takeUids(count: number, range: { first: number; count: number }, except?: number): Promise<void> {
    const spare = this.#freeUids(except).length - (count - this.#known.size)
    if (spare >= 0) return
    const units = await takeUidUnits(this.#store, range, Math.ceil(-spare / UNIT_SIZE), {
      sandbox: this.name,
      untilMs: this.expiresAtMs + 60_000,
    })
    this.claim.update({ uidUnits: [...this.claim.record.uidUnits, ...units] })
    await this.claim.written()
  }

  #freeUids(except?: number): number[] {
    const used = new Set([...this.#known.values()].map(({ uid }) => uid))
    if (except !== undefined) used.add(except)
    const own = this.#ownRange
    const ranges = own === undefined ? this.claim.record.uidUnits.map((first) => ({ first, count: UNIT_SIZE })) : [own]
    return ranges
      .flatMap(({ first, count }) => Array.from({ length: count }, (_, index) => first + index))
      .filter((uid) => !used.has(uid) && !this.#unusable.has(uid))
  }

  async #make(name: string, options: CallOptions, except?: number): Promise<Slot> {
    const { isolation, processLimit, workspaceBase, template, diskMiB } = this.#profile
    if (diskMiB !== undefined) {
      throw new AnyplaceError('unsupported', `diskMiB ${diskMiB} cannot be enforced: no quota holds for slots yet.`, {
        field: 'diskMiB',
        hint: 'leave it out',
      })
    }
    const request: SlotRequest = {
      name,
      isolation,
      pidsLimit: processLimit,
      workspaceBase,
      ...(template === undefined ? {} : { template }),
    }
    for (;;) {
      const uid = this.#freeUids(except)[0]
      if (uid === undefined) {
        throw new AnyplaceError('resource-exhausted', `Sandbox ${this.name} has no free uid for slot ${name}.`)
      }
      this.#unusable.add(uid)
      try {
        return this.#keep(await this.slots.create({ ...request, uid }, options))
      } catch (error) {
        // Somebody in the sandbox has this uid already: take the next one.
        if (!AnyplaceError.is(error, 'conflict')) throw error
      }
    }
  }

  #keep(slot: Slot): Slot {
    this.#known.set(slot.name, slot)
    return slot
  }
}
