import { Writable } from 'node:stream'
import { expect, test } from 'vitest'
import { FrameWriter } from './frame-writer.ts'

test('a frame is taken only when all that was sent before it is, also when it was copied', async () => {
  const taking: (() => void)[] = []
  const stream = new Writable({ write: (_chunk, _encoding, done) => void taking.push(done) })
  const writer = new FrameWriter(stream)
  const taken: string[] = []
  writer.send(Buffer.alloc(1_000_000))
  writer.send(Buffer.alloc(9))
  writer.send(Buffer.alloc(10), () => taken.push('small'))
  writer.send(Buffer.alloc(1_000_000), () => taken.push('big'))
  writer.flush()
  const take = async (): Promise<string[]> => {
    taking.shift()?.()
    await new Promise((resolve) => setImmediate(resolve))
    return [...taken]
  }
  expect(taken).toEqual([])
  expect(await take()).toEqual([])
  expect(await take()).toEqual(['small'])
  expect(await take()).toEqual(['small', 'big'])
})
