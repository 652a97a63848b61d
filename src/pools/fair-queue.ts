/** One that waits. Opaque; give it to `remove`. */
export interface Ticket<Item> {
  readonly item: Item
  readonly tenant: string
}

interface Node<Item> extends Ticket<Item> {
  previous: Node<Item> | undefined
  next: Node<Item> | undefined
  line: Line<Item> | undefined
}

/** Those of one tenant, in the order of their arrival. */
interface Line<Item> {
  readonly tenant: string
  readonly order: number
  weight: number
  /** Virtual time of its next turn: the tenant with the least goes first. */
  turn: number
  first: Node<Item> | undefined
  last: Node<Item> | undefined
}

/**
 * First come, first served within a tenant, and turns by weight between tenants: while two tenants wait, a tenant of weight
 * 2 is served twice as often as one of weight 1, never off by more than one turn. Who comes back after a pause has saved
 * nothing up. Adding and removing take constant time, serving grows with the logarithm of the number of tenants.
 */
export class FairQueue<Item> {
  readonly #lines = new Map<string, Line<Item>>()
  readonly #heap: Line<Item>[] = []
  #now = 0
  #orders = 0
  #size = 0

  get size(): number {
    return this.#size
  }

  /** @param weight above 0; the tenant's newest weight holds @default 1 */
  push(item: Item, tenant = '', weight = 1): Ticket<Item> {
    let line = this.#lines.get(tenant)
    if (line === undefined) {
      line = { tenant, order: this.#orders++, weight, turn: this.#now + 1 / weight, first: undefined, last: undefined }
      this.#lines.set(tenant, line)
      this.#insert(line)
    }
    line.weight = weight
    const node: Node<Item> = { item, tenant, previous: line.last, next: undefined, line }
    if (line.last === undefined) line.first = node
    else line.last.next = node
    line.last = node
    this.#size++
    return node
  }

  /** Takes one out of the line; false when it has been served or removed already. */
  remove(ticket: Ticket<Item>): boolean {
    const node = ticket as Node<Item>
    const { line, previous, next } = node
    if (line === undefined) return false
    node.line = undefined
    if (previous === undefined) line.first = next
    else previous.next = next
    if (next === undefined) line.last = previous
    else next.previous = previous
    this.#size--
    return true
  }

  /** The next in turn, or undefined when nobody waits. */
  shift(): Item | undefined {
    for (;;) {
      const line = this.#heap[0]
      if (line === undefined) return undefined
      const node = line.first
      if (node === undefined) {
        // An empty line is forgotten only here, so that removing stays cheap and its turn is not lost by it.
        this.#lines.delete(line.tenant)
        this.#dropTop()
        continue
      }
      this.remove(node)
      this.#now = line.turn
      line.turn += 1 / line.weight
      this.#sink(0)
      return node.item
    }
  }

  /** Everyone who waits, tenant by tenant. */
  *[Symbol.iterator](): Iterator<Item> {
    for (const line of this.#lines.values()) {
      for (let node = line.first; node !== undefined; node = node.next) yield node.item
    }
  }

  #isBefore(a: Line<Item>, b: Line<Item>): boolean {
    return a.turn === b.turn ? a.order < b.order : a.turn < b.turn
  }

  #insert(line: Line<Item>): void {
    const heap = this.#heap
    let index = heap.push(line) - 1
    while (index > 0) {
      const parent = (index - 1) >> 1
      if (!this.#swapIfBefore(index, parent)) break
      index = parent
    }
  }

  #dropTop(): void {
    const last = this.#heap.pop()
    if (last === undefined || this.#heap.length === 0) return
    this.#heap[0] = last
    this.#sink(0)
  }

  #sink(index: number): void {
    for (;;) {
      const [left, right] = [2 * index + 1, 2 * index + 2]
      const other = this.#heap[right] !== undefined && this.#isBefore(this.#at(right), this.#at(left)) ? right : left
      if (this.#heap[other] === undefined || !this.#swapIfBefore(other, index)) return
      index = other
    }
  }

  #swapIfBefore(below: number, above: number): boolean {
    const [a, b] = [this.#at(below), this.#at(above)]
    if (!this.#isBefore(a, b)) return false
    this.#heap[above] = a
    this.#heap[below] = b
    return true
  }

  #at(index: number): Line<Item> {
    return this.#heap[index] as Line<Item>
  }
}
