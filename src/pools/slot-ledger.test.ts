import fc from 'fast-check'
import { expect, test } from 'vitest'
import { SlotLedger } from './slot-ledger.ts'
import type { LedgerSlot } from './slot-ledger.ts'
import { nextState, SLOT_TRANSITIONS } from './slot-state.ts'
import type { SlotEvent, SlotState } from './slot-state.ts'

const EVENTS: readonly SlotEvent[] = ['acquire', 'start', 'finish', 'release', 'clean', 'dirty', 'inspect', 'lose']

test('the table of states and events', () => {
  const rows = Object.entries(SLOT_TRANSITIONS).map(([state, row]) => [
    state,
    EVENTS.map((event) => row[event] ?? '-').join(' '),
  ])
  expect(Object.fromEntries(rows)).toEqual({
    //          acquire  start     finish   release   clean     dirty inspect lose
    available: 'acquired - - - - error releasing error',
    acquired: '- executing - releasing - - - error',
    executing: '- - acquired releasing - - - error',
    releasing: '- - - - available error - error',
    error: '- - - - - - - -',
  })
})

test('what is not in the table is refused and changes nothing', () => {
  for (const state of Object.keys(SLOT_TRANSITIONS) as SlotState[]) {
    for (const event of EVENTS) {
      if (SLOT_TRANSITIONS[state][event] !== undefined) continue
      expect(() => nextState(state, event, 's')).toThrow(expect.objectContaining({ code: 'conflict' }))
    }
  }
})

test('the sandbox used last is used first, and a draining one never', () => {
  const got: string[] = []
  const ledger = new SlotLedger<string, string>((_, slot) => got.push(slot.id))
  for (const group of ['x', 'y'])
    ledger.addGroup(
      group,
      [0, 1].map((index) => ({ id: `${group}${index}`, index })),
    )
  ledger.request('a')
  ledger.request('b')
  ledger.request('c')
  expect(got).toEqual(['y0', 'y1', 'x0'])
  ledger.drain('x')
  ledger.request('d')
  expect([got.length, ledger.waiting, ledger.free]).toEqual([3, 1, 0])
  ledger.undrain('x')
  expect([got.at(-1), ledger.waiting]).toEqual(['x1', 0])
})

/** Random users of one ledger, checked after each step against what they were told. */
test('no slot is ever held twice, and nobody waits while a slot is free', () => {
  const step = fc.oneof(
    { weight: 5, arbitrary: fc.record({ do: fc.constant('request' as const), tenant: fc.constantFrom('a', 'b') }) },
    { weight: 4, arbitrary: fc.record({ do: fc.constantFrom('release', 'start', 'finish'), pick: fc.nat() }) },
    { weight: 4, arbitrary: fc.record({ do: fc.constantFrom('clean', 'dirty'), pick: fc.nat() }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('cancel', 'crash', 'drain', 'undrain'), pick: fc.nat() }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('add' as const), pick: fc.nat() }) },
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300, size: 'max' }), (steps) => {
      const held = new Map<string, { readonly waiter: number; readonly slot: LedgerSlot<number> }>()
      const served = new Set<number>()
      const tenantOf = new Map<number, string>()
      const lastServed = new Map<string, number>()
      const ledger = new SlotLedger<number, number>((waiter, slot) => {
        expect(held.has(slot.id), `${slot.id} is held already`).toBe(false)
        expect(slot.state).toBe('acquired')
        expect(served.has(waiter), 'served twice').toBe(false)
        const tenant = tenantOf.get(waiter) ?? ''
        expect(waiter).toBeGreaterThan(lastServed.get(tenant) ?? -1)
        lastServed.set(tenant, waiter)
        served.add(waiter)
        held.set(slot.id, { waiter, slot })
      })
      const groups: number[] = []
      const draining = new Set<number>()
      const tickets: NonNullable<ReturnType<typeof ledger.request>>[] = []
      let [waiters, group] = [0, 0]
      for (const one of steps) {
        const pick = 'pick' in one ? one.pick : 0
        const holding = [...held.values()].filter(({ slot }) => slot.state === 'acquired' || slot.state === 'executing')
        const chosen = holding[pick % Math.max(1, holding.length)]
        const releasing = ledger.slots().filter(({ state }) => state === 'releasing')
        const dirty = releasing[pick % Math.max(1, releasing.length)]
        const target = groups[pick % Math.max(1, groups.length)]
        if (one.do === 'request') {
          tenantOf.set(waiters, one.tenant)
          const ticket = ledger.request(waiters++, one.tenant)
          if (ticket !== undefined) tickets.push(ticket)
        } else if (one.do === 'add') {
          groups.push(group)
          ledger.addGroup(
            group,
            [0, 1, 2].map((index) => ({ id: `${group}/${index}`, index })),
          )
          group++
        } else if (one.do === 'cancel') {
          const ticket = tickets[pick % Math.max(1, tickets.length)]
          if (ticket !== undefined && ledger.cancel(ticket)) served.add(ticket.item)
        } else if (one.do === 'crash' && target !== undefined) {
          for (const slot of ledger.removeGroup(target)) held.delete(slot.id)
          groups.splice(groups.indexOf(target), 1)
        } else if (one.do === 'drain' && target !== undefined) {
          ledger.drain(target)
          draining.add(target)
        } else if (one.do === 'undrain' && target !== undefined) {
          draining.delete(target)
          ledger.undrain(target)
        } else if (one.do === 'release' && chosen !== undefined) {
          held.delete(chosen.slot.id)
          ledger.event(chosen.slot, 'release')
        } else if ((one.do === 'start' || one.do === 'finish') && chosen !== undefined) {
          if (SLOT_TRANSITIONS[chosen.slot.state][one.do] !== undefined) ledger.event(chosen.slot, one.do)
        } else if ((one.do === 'clean' || one.do === 'dirty') && dirty !== undefined) {
          ledger.event(dirty, one.do)
        }
        const free = ledger.slots().filter(({ state, group: of }) => state === 'available' && !draining.has(of)).length
        expect(ledger.free).toBe(free)
        if (ledger.waiting > 0) expect(free).toBe(0)
      }
    }),
    { numRuns: 60 },
  )
})
