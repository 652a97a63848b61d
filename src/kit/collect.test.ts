import { Readable } from 'node:stream'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { OutputCollector, collectBytes } from './collect.ts'

describe('collectBytes', () => {
  test('joins the chunks of any kind of stream', async () => {
    const parts = [Uint8Array.of(1, 2), new Uint8Array(0), Uint8Array.of(3)]
    expect([...(await collectBytes(Readable.from(parts), { maxBytes: 3 }))]).toEqual([1, 2, 3])
    const web = new ReadableStream<Uint8Array>({
      start(controller) {
        for (const part of parts) controller.enqueue(part)
        controller.close()
      },
    })
    expect([...(await collectBytes(web, { maxBytes: 3 }))]).toEqual([1, 2, 3])
  })

  test('stops at the limit and closes the stream', async () => {
    const stream = Readable.from([new Uint8Array(2), new Uint8Array(2), new Uint8Array(2)])
    await expect(collectBytes(stream, { maxBytes: 3 })).rejects.toMatchObject({ code: 'resource-exhausted' })
    expect(stream.destroyed).toBe(true)
  })
})

describe('OutputCollector', () => {
  const chunks = fc.array(fc.uint8Array({ maxLength: 50 }), { maxLength: 30 })

  test('keeps the head, the tail or both, whatever the chunks', () => {
    fc.assert(
      fc.property(chunks, fc.nat(200), fc.constantFrom('head', 'tail', 'both'), (parts, maxBytes, keep) => {
        const collector = new OutputCollector({ maxBytes, keep })
        for (const part of parts) collector.push(part)
        const all = Buffer.concat(parts)
        const head = keep === 'head' ? maxBytes : keep === 'tail' ? 0 : Math.ceil(maxBytes / 2)
        const expected =
          all.length <= maxBytes
            ? all
            : Buffer.concat([all.subarray(0, head), all.subarray(all.length - (maxBytes - head))])
        expect(Buffer.from(collector.bytes()).equals(expected)).toBe(true)
        expect(collector.truncated).toBe(all.length > maxBytes)
        expect(collector.omittedBytes).toBe(Math.max(0, all.length - maxBytes))
        expect(collector.totalBytes).toBe(all.length)
      }),
      { numRuns: 500 },
    )
  })

  test('works across its blocks of 64 KiB', () => {
    const all = Buffer.alloc(700_000)
    for (let index = 0; index < all.length; index++) all[index] = index % 251
    for (const keep of ['head', 'tail', 'both'] as const) {
      const collector = new OutputCollector({ maxBytes: 200_001, keep })
      for (let offset = 0; offset < all.length; offset += 1717) collector.push(all.subarray(offset, offset + 1717))
      const head = keep === 'head' ? 200_001 : keep === 'tail' ? 0 : 100_001
      const expected = Buffer.concat([all.subarray(0, head), all.subarray(all.length - (200_001 - head))])
      expect(Buffer.from(collector.bytes()).equals(expected)).toBe(true)
    }
  })

  test('takes a copy and refuses a senseless limit', () => {
    const collector = new OutputCollector({ maxBytes: 10, keep: 'tail' })
    const chunk = Uint8Array.of(1, 2)
    collector.push(chunk)
    chunk.fill(9)
    expect([...collector.bytes()]).toEqual([1, 2])
    expect(() => new OutputCollector({ maxBytes: -1, keep: 'tail' })).toThrow('maxBytes')
  })
})
