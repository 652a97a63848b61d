import fc from 'fast-check'
import { expect, test } from 'vitest'
import { FairQueue } from './fair-queue.ts'

test('1,000 wait and are served in the order in which they came', () => {
  const queue = new FairQueue<number>()
  for (let item = 0; item < 1000; item++) queue.push(item)
  expect(Array.from({ length: 1000 }, () => queue.shift())).toEqual(Array.from({ length: 1000 }, (_, item) => item))
  expect(queue.shift()).toBeUndefined()
})

test('turns follow the weights, never off by more than one', () => {
  const weights = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 2, maxLength: 6 })
  fc.assert(
    fc.property(weights, (given) => {
      const queue = new FairQueue<number>()
      const total = given.reduce((sum, weight) => sum + weight, 0)
      for (const [tenant, weight] of given.entries()) {
        for (let i = 0; i < weight * 20; i++) queue.push(tenant, String(tenant), weight)
      }
      const served = given.map(() => 0)
      for (let turn = 1; turn <= total * 20; turn++) {
        const tenant = queue.shift() as number
        served[tenant] = (served[tenant] ?? 0) + 1
        const off = given.map((weight, other) => Math.abs((served[other] ?? 0) - (turn * weight) / total))
        expect(Math.max(...off)).toBeLessThan(given.length)
      }
      expect(served).toEqual(given.map((weight) => weight * 20))
    }),
    { numRuns: 30 },
  )
})

test('one who comes late has saved nothing up, and one who waits is not passed by newcomers', () => {
  const queue = new FairQueue<string>()
  for (let i = 0; i < 50; i++) queue.push(`a${i}`, 'a')
  for (let i = 0; i < 20; i++) queue.shift()
  for (let i = 0; i < 3; i++) queue.push(`b${i}`, 'b')
  const next = Array.from({ length: 6 }, () => queue.shift()?.[0])
  expect(next.filter((tenant) => tenant === 'b')).toHaveLength(3)
  expect(new Set(next.slice(0, 2))).toEqual(new Set(['a', 'b']))
})

test('a tenant that cancels and comes again gets no extra turns', () => {
  const queue = new FairQueue<string>()
  for (let i = 0; i < 10; i++) queue.push('a', 'a')
  const served: (string | undefined)[] = []
  for (let i = 0; i < 6; i++) {
    const ticket = queue.push('b', 'b')
    queue.remove(ticket)
    queue.push('b', 'b')
    served.push(queue.shift())
  }
  expect(served.filter((tenant) => tenant === 'b').length).toBeLessThanOrEqual(3)
})

test('any mix of pushing, removing and serving: each is served once, in order within its tenant', () => {
  const step = fc.oneof(
    fc.record({ push: fc.constantFrom('a', 'b', 'c') }),
    fc.record({ remove: fc.nat(50) }),
    fc.constant('shift' as const),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200, size: 'max' }), (steps) => {
      const queue = new FairQueue<{ readonly tenant: string; readonly number: number }>()
      const model = new Map<string, number[]>()
      const tickets: ReturnType<typeof queue.push>[] = []
      let number = 0
      for (const one of steps) {
        if (one === 'shift') {
          const item = queue.shift()
          const waiting = [...model.values()].flat().length
          if (item === undefined) expect(waiting).toBe(0)
          else expect(model.get(item.tenant)?.shift()).toBe(item.number)
        } else if ('push' in one) {
          tickets.push(queue.push({ tenant: one.push, number }, one.push))
          model.set(one.push, [...(model.get(one.push) ?? []), number++])
        } else {
          const ticket = tickets[one.remove]
          if (ticket === undefined) continue
          const line = model.get(ticket.tenant) ?? []
          expect(queue.remove(ticket)).toBe(line.includes(ticket.item.number))
          model.set(
            ticket.tenant,
            line.filter((other) => other !== ticket.item.number),
          )
        }
        expect(queue.size).toBe([...model.values()].flat().length)
        expect([...queue].length).toBe(queue.size)
      }
    }),
  )
})
