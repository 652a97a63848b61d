import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { AnyplaceError, SlotResult } from '../spec/index.ts'
import { SlotRecords } from './slot-records.ts'

interface Made {
  readonly index: number
  readonly kind?: number
  readonly flags?: number
  readonly code?: number
  readonly signal?: string
  readonly stdout?: Uint8Array
  readonly stderr?: Uint8Array
}

function record({ index, kind = 0, flags = 0, code = 0, signal = '', stdout, stderr }: Made): Buffer {
  const head = Buffer.alloc(25)
  head.writeUInt32BE(index, 0)
  head[4] = kind
  head[5] = flags
  head.writeUInt16BE(code, 6)
  head.writeDoubleBE(1.5, 8)
  head.writeUInt32BE(stdout?.byteLength ?? 0, 16)
  head.writeUInt32BE(stderr?.byteLength ?? 0, 20)
  head[24] = signal.length
  return Buffer.concat([head, Buffer.from(signal), stdout ?? Buffer.alloc(0), stderr ?? Buffer.alloc(0)])
}

function receiver(count: number, maxOutputBytes = 1000): { records: SlotRecords; seen: [number, SlotResult][] } {
  const seen: [number, SlotResult][] = []
  const commands = Array.from({ length: count }, (_, index) => ({ slot: `s${index}`, argv: ['true'], maxOutputBytes }))
  return { records: new SlotRecords(commands, (index, result) => seen.push([index, result])), seen }
}

describe('records of a batch', () => {
  test('arrive whole however the stream is cut, in any order', () => {
    const output = fc.uint8Array({ maxLength: 300 })
    const one = fc.record({ stdout: output, stderr: output, code: fc.integer({ min: 0, max: 255 }) })
    fc.assert(
      fc.property(
        fc.array(one, { minLength: 1, maxLength: 8 }),
        fc.integer(),
        fc.array(fc.nat(400)),
        (made, seed, cuts) => {
          const { records, seen } = receiver(made.length)
          const order = made.map((_, index) => index).toSorted((a, b) => ((a * 7 + seed) % 5) - ((b * 7 + seed) % 5))
          let rest: Buffer = Buffer.concat(order.map((index) => record({ index, ...made[index]! })))
          for (const cut of cuts) {
            records.push(rest.subarray(0, cut))
            rest = rest.subarray(Math.min(cut, rest.byteLength))
          }
          records.push(rest)
          expect(seen.map(([index]) => index)).toEqual(order)
          for (const [index, { slot, result }] of records.done().entries()) {
            expect(slot).toBe(`s${index}`)
            expect(result!.exitCode).toBe(made[index]!.code)
            expect([...result!.stdoutBytes]).toEqual([...made[index]!.stdout])
            expect([...result!.stderrBytes]).toEqual([...made[index]!.stderr])
          }
        },
      ),
    )
  })

  test('flags, signals and errors', () => {
    const { records } = receiver(2)
    const error = Buffer.from(JSON.stringify({ code: 'timeout', message: 'late' }))
    records.push(
      Buffer.concat([
        record({ index: 1, kind: 1, stdout: error }),
        record({ index: 0, flags: 7, code: 124, signal: 'SIGKILL' }),
      ]),
    )
    const [first, second] = records.done()
    expect(first!.result).toMatchObject({
      timedOut: true,
      oomKilled: true,
      truncated: true,
      signal: 'SIGKILL',
      exitCode: 124,
    })
    expect(second!.error!.code).toBe('timeout')
  })

  test.each<[string, Buffer]>([
    ['an index that was never sent', record({ index: 2 })],
    ['a second result of one command', Buffer.concat([record({ index: 0 }), record({ index: 0 })])],
    ['an unknown kind', record({ index: 0, kind: 2 })],
    ['an exit code beyond 255', record({ index: 0, code: 256 })],
    ['a signal that is no name', record({ index: 0, signal: 'SIG\n' })],
    ['an error that is no JSON', record({ index: 0, kind: 1, stdout: Buffer.from('x') })],
    [
      'more output than was allowed, before it comes',
      record({ index: 0, stdout: Buffer.alloc(300_000) }).subarray(0, 25),
    ],
  ])('%s is a protocol error', (_what, bytes) => {
    const { records } = receiver(2)
    expect(() => records.push(bytes)).toThrow(expect.objectContaining({ code: 'protocol-error' }) as AnyplaceError)
  })

  test('a missing result is a protocol error', () => {
    const { records } = receiver(2)
    records.push(record({ index: 0 }))
    expect(() => records.done()).toThrow(/command 1/)
  })
})
