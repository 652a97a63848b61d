import { Duplex } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { AnyplaceError } from '../../spec/index.ts'
import { demultiplex } from './demultiplex.ts'

function frame(kind: number, bytes: Uint8Array): Buffer {
  const header = Buffer.alloc(8)
  header[0] = kind
  header.writeUInt32BE(bytes.length, 4)
  return Buffer.concat([header, bytes])
}

/** A source that gives the chunks as they are and then ends, or breaks. */
function sourceOf(chunks: readonly Uint8Array[], fault?: Error): Duplex {
  const rest = [...chunks]
  return new Duplex({
    read() {
      const next = rest.shift()
      if (next !== undefined) this.push(next)
      else if (fault === undefined) this.push(null)
      else this.destroy(fault)
    },
    write(_chunk, _encoding, callback) {
      callback()
    },
  })
}

async function collect(stream: AsyncIterable<unknown>): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

test('any frames cut anywhere arrive whole, each on its stream', async () => {
  const frames = fc.array(fc.record({ kind: fc.constantFrom(0, 1, 2), bytes: fc.uint8Array({ maxLength: 40 }) }))
  await fc.assert(
    fc.asyncProperty(frames, fc.array(fc.nat(60)), async (sent, cuts) => {
      const wire = Buffer.concat(sent.map(({ bytes, kind }) => frame(kind, bytes)))
      const chunks: Buffer[] = []
      let at = 0
      for (const cut of cuts) chunks.push(wire.subarray(at, (at += cut)))
      chunks.push(wire.subarray(at))
      const { ended, stderr, stdout } = demultiplex(sourceOf(chunks.filter((chunk) => chunk.length > 0)))
      const [out, err, fault] = await Promise.all([collect(stdout), collect(stderr), ended])
      const expected = (kinds: readonly number[]): Buffer =>
        Buffer.concat(sent.filter(({ kind }) => kinds.includes(kind)).map(({ bytes }) => bytes))
      expect(out).toEqual(expected([0, 1]))
      expect(err).toEqual(expected([2]))
      expect(fault).toBeUndefined()
    }),
  )
})

test('a stream that ends inside a frame is lost, not short', async () => {
  const { ended, stdout } = demultiplex(
    sourceOf([frame(1, Buffer.from('whole')), frame(1, Buffer.from('cut')).subarray(0, 9)]),
  )
  await expect(collect(stdout)).rejects.toMatchObject({ code: 'connection-lost' })
  expect(AnyplaceError.is(await ended, 'connection-lost')).toBe(true)
})

test('a broken source breaks both outputs', async () => {
  const { ended, stderr, stdout } = demultiplex(sourceOf([frame(1, Buffer.from('x'))], new Error('reset')))
  await expect(collect(stdout)).rejects.toMatchObject({ code: 'connection-lost' })
  await expect(collect(stderr)).rejects.toMatchObject({ code: 'connection-lost' })
  expect((await ended)?.message).toContain('reset')
})

test('an unknown stream is a protocol error', async () => {
  const { ended } = demultiplex(sourceOf([frame(7, Buffer.from('x'))]))
  expect(AnyplaceError.is(await ended, 'protocol-error')).toBe(true)
})

test('a reader that does not read holds the source up; a destroyed output does not', async () => {
  const block = frame(1, Buffer.alloc(64 * 1024))
  let sent = 0
  const source = new Duplex({
    read() {
      if (sent < 100) {
        sent += 1
        this.push(block)
      } else this.push(null)
    },
    write(_chunk, _encoding, callback) {
      callback()
    },
  })
  const { ended, stdout } = demultiplex(source)
  await delay(50)
  expect(sent).toBeLessThan(20)
  stdout.destroy()
  expect(await ended).toBeUndefined()
  expect(sent).toBe(100)
})
