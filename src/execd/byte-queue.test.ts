import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ArrivalOrder } from './arrival-order.ts'
import { ByteQueue } from './byte-queue.ts'

test('gives the bytes in order, whatever the sizes', () => {
  const step = fc.oneof(
    fc.record({ push: fc.oneof(fc.integer({ min: 0, max: 50 }), fc.constantFrom(1000, 3000, 40_000, 70_000)) }),
    fc.record({ shift: fc.oneof(fc.integer({ min: 1, max: 2000 }), fc.constant(Infinity)) }),
    fc.constant({ clear: true }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const queue = new ByteQueue()
      let next = 0
      let expected = 0
      for (const one of steps) {
        if ('push' in one) {
          const bytes = Uint8Array.from({ length: one.push }, () => next++ % 251)
          queue.push(bytes)
          // Small chunks are copied: what happens to the memory later does not matter.
          if (one.push < 16_384) bytes.fill(255)
        } else if ('shift' in one) {
          const bytes = queue.shift(one.shift)
          if (bytes === undefined) expect(queue.byteLength).toBe(0)
          else {
            expect(bytes.byteLength).toBeGreaterThan(0)
            expect(bytes.byteLength).toBeLessThanOrEqual(one.shift)
            const wrong = bytes.findIndex((byte, index) => byte !== (expected + index) % 251)
            expect(wrong).toBe(-1)
            expected += bytes.byteLength
            bytes.fill(254)
          }
        } else {
          queue.clear()
          expected = next
        }
        expect(queue.byteLength).toBe(next - expected)
      }
    }),
    { numRuns: 200 },
  )
})

test('a small view of much memory is copied, a large one is not', () => {
  const queue = new ByteQueue()
  const backing = new Uint8Array(65_536)
  queue.push(backing.subarray(0, 100))
  expect(queue.shift(Infinity)!.buffer.byteLength).toBeLessThan(2000)
  queue.push(backing.subarray(0, 20_000))
  expect(queue.shift(Infinity)!.buffer).not.toBe(backing.buffer)
  queue.push(backing)
  expect(queue.shift(Infinity)!.buffer).toBe(backing.buffer)
})

test('arrival order comes back as it went in, with runs joined', () => {
  const arrival = fc.record({
    stream: fc.constantFrom('stdout' as const, 'stderr' as const),
    byteLength: fc.integer({ min: 1, max: 9 }),
  })
  fc.assert(
    fc.property(fc.array(arrival), (arrivals) => {
      const order = new ArrivalOrder()
      for (const { stream, byteLength } of arrivals) order.add(stream, byteLength)
      const flat = arrivals.flatMap(({ stream, byteLength }) => Array.from({ length: byteLength }, () => stream))
      const back: string[] = []
      for (let run = order.shift(); run !== undefined; run = order.shift()) {
        back.push(...Array.from({ length: run.byteLength }, () => run!.stream))
      }
      expect(back).toEqual(flat)
    }),
  )
})

test('arrival order is bounded and still knows every byte', () => {
  const order = new ArrivalOrder()
  for (let turn = 0; turn < 300_000; turn++) order.add(turn % 2 === 0 ? 'stdout' : 'stderr', 1)
  let runs = 0
  const bytes = { stdout: 0, stderr: 0 }
  for (let run = order.shift(); run !== undefined; run = order.shift(), runs++) bytes[run.stream] += run.byteLength
  expect(bytes).toEqual({ stdout: 150_000, stderr: 150_000 })
  expect(runs).toBeLessThan(70_000)
})
