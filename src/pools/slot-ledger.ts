import { FairQueue } from './fair-queue.ts'
import type { Ticket } from './fair-queue.ts'
import { nextState } from './slot-state.ts'
import type { SlotEvent, SlotState } from './slot-state.ts'

/** One slot as the ledger keeps it. */
export interface LedgerSlot<Group> {
  /** Unique across pools and controllers. */
  readonly id: string
  readonly index: number
  readonly group: Group
  readonly state: SlotState
}

interface Entry<Group> {
  readonly id: string
  readonly index: number
  readonly group: Group
  state: SlotState
}

interface Bunch<Group> {
  readonly slots: Map<string, Entry<Group>>
  readonly free: Entry<Group>[]
  /** In the list of those that have free slots. */
  isListed: boolean
  isDraining: boolean
}

/**
 * Who has which slot, and who waits for one. No clock, no input and output, nothing asynchronous: each step is a whole, so
 * no two can overlap. Taking a free slot takes constant time.
 *
 * A group is a sandbox. The one that was used last is used first, so that others stay idle and can end.
 */
export class SlotLedger<Group, Waiter> {
  readonly #bunches = new Map<Group, Bunch<Group>>()
  readonly #withFree: Bunch<Group>[] = []
  readonly #queue = new FairQueue<Waiter>()
  readonly #grant: (waiter: Waiter, slot: LedgerSlot<Group>) => void
  #freeCount = 0

  /** @param grant called, within the step that caused it, when a waiter gets a slot */
  constructor(grant: (waiter: Waiter, slot: LedgerSlot<Group>) => void) {
    this.#grant = grant
  }

  /** Slots that could be taken now. */
  get free(): number {
    return this.#freeCount
  }

  get waiting(): number {
    return this.#queue.size
  }

  slots(): LedgerSlot<Group>[] {
    return [...this.#bunches.values()].flatMap((bunch) => [...bunch.slots.values()])
  }

  slotsOf(group: Group): LedgerSlot<Group>[] {
    return [...(this.#bunches.get(group)?.slots.values() ?? [])]
  }

  /** Sends everyone away who waits, and gives them. */
  dismiss(): Waiter[] {
    const sent: Waiter[] = []
    for (let waiter = this.#queue.shift(); waiter !== undefined; waiter = this.#queue.shift()) sent.push(waiter)
    return sent
  }

  /** Adds a sandbox with its slots. Those that are not `available` are somebody's or not clean yet; `eachUnfree` is told of them. */
  addGroup(
    group: Group,
    slots: readonly { readonly id: string; readonly index: number; readonly state?: SlotState }[],
    eachUnfree: (slot: LedgerSlot<Group>) => void = () => undefined,
  ): void {
    const bunch: Bunch<Group> = { slots: new Map(), free: [], isListed: false, isDraining: false }
    this.#bunches.set(group, bunch)
    for (const { id, index, state = 'available' } of slots) bunch.slots.set(id, { id, index, group, state })
    // From the last, since the last one that becomes free is the first one that is taken.
    for (const slot of [...bunch.slots.values()].reverse()) {
      if (slot.state === 'available') this.#offer(bunch, slot)
      else eachUnfree(slot)
    }
    this.#serve()
  }

  /** Puts a new slot in the place of one that is no longer used. */
  replaceSlot(old: LedgerSlot<Group>, slot: { readonly id: string; readonly index: number }): void {
    const bunch = this.#bunches.get(old.group)
    if (bunch === undefined || !bunch.slots.delete(old.id)) return
    const entry: Entry<Group> = { ...slot, group: old.group, state: 'available' }
    bunch.slots.set(entry.id, entry)
    this.#offer(bunch, entry)
    this.#serve()
  }

  /** A slot at once when nobody waits and one is free; else the waiter's place in the line. */
  request(waiter: Waiter, tenant?: string, weight?: number): Ticket<Waiter> | undefined {
    if (this.#queue.size === 0) {
      const slot = this.#takeFree()
      if (slot !== undefined) {
        this.#give(waiter, slot)
        return undefined
      }
    }
    return this.#queue.push(waiter, tenant, weight)
  }

  /** False when the waiter has got its slot already. */
  cancel(ticket: Ticket<Waiter>): boolean {
    return this.#queue.remove(ticket)
  }

  /**
   * Something happened to a slot.
   *
   * @throws AnyplaceError `conflict` when it cannot happen in the state it is in; nothing has changed then
   */
  event(slot: LedgerSlot<Group>, event: Exclude<SlotEvent, 'acquire' | 'lose'>): void {
    const entry = slot as Entry<Group>
    const wasFree = entry.state === 'available'
    entry.state = nextState(entry.state, event, entry.id)
    const bunch = this.#bunches.get(entry.group)
    if (bunch === undefined) return
    if (wasFree) this.#withdraw(bunch, entry)
    if (entry.state === 'available') {
      this.#offer(bunch, entry)
      this.#serve()
    }
  }

  /** Hands out nothing more of this sandbox. */
  drain(group: Group): void {
    const bunch = this.#bunches.get(group)
    if (bunch === undefined || bunch.isDraining) return
    bunch.isDraining = true
    this.#unlist(bunch)
  }

  /** Takes back {@link drain}. */
  undrain(group: Group): void {
    const bunch = this.#bunches.get(group)
    if (bunch === undefined || !bunch.isDraining) return
    bunch.isDraining = false
    for (const slot of bunch.slots.values()) if (slot.state === 'available') this.#offer(bunch, slot)
    this.#serve()
  }

  /** The sandbox has gone. Gives its slots as they were, now lost. */
  removeGroup(group: Group): LedgerSlot<Group>[] {
    const bunch = this.#bunches.get(group)
    if (bunch === undefined) return []
    this.#bunches.delete(group)
    this.#unlist(bunch)
    const before = [...bunch.slots.values()].map((slot) => ({ ...slot }))
    for (const slot of bunch.slots.values())
      if (slot.state !== 'error') slot.state = nextState(slot.state, 'lose', slot.id)
    return before
  }

  #serve(): void {
    while (this.#freeCount > 0 && this.#queue.size > 0) {
      const waiter = this.#queue.shift()
      const slot = waiter === undefined ? undefined : this.#takeFree()
      if (waiter === undefined || slot === undefined) return
      this.#give(waiter, slot)
    }
  }

  #give(waiter: Waiter, slot: Entry<Group>): void {
    slot.state = nextState(slot.state, 'acquire', slot.id)
    this.#grant(waiter, slot)
  }

  #takeFree(): Entry<Group> | undefined {
    const bunch = this.#withFree.at(-1)
    const slot = bunch?.free.pop()
    if (bunch === undefined || slot === undefined) return undefined
    this.#freeCount--
    if (bunch.free.length === 0) {
      bunch.isListed = false
      this.#withFree.pop()
    }
    return slot
  }

  #offer(bunch: Bunch<Group>, slot: Entry<Group>): void {
    if (bunch.isDraining) return
    bunch.free.push(slot)
    this.#freeCount++
    if (bunch.isListed) return
    bunch.isListed = true
    this.#withFree.push(bunch)
  }

  #withdraw(bunch: Bunch<Group>, slot: Entry<Group>): void {
    const at = bunch.free.indexOf(slot)
    if (at < 0) return
    bunch.free.splice(at, 1)
    this.#freeCount--
    if (bunch.free.length === 0) this.#unlist(bunch)
  }

  #unlist(bunch: Bunch<Group>): void {
    this.#freeCount -= bunch.free.length
    bunch.free.length = 0
    if (!bunch.isListed) return
    bunch.isListed = false
    this.#withFree.splice(this.#withFree.indexOf(bunch), 1)
  }
}
