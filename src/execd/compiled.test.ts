import { PassThrough } from 'node:stream'
import type { Readable } from 'node:stream'
import { once } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { compiledFor, keepCompiled, readCompiled } from './compiled.ts'

const hasOutput = async (stream: Readable): Promise<boolean> => {
  if (stream.readableLength > 0) return true
  if (stream.readableEnded) return false
  await Promise.race([once(stream, 'readable'), once(stream, 'end')])
  return stream.readableLength > 0
}

test('what comes behind the modules stays in the stream, however it is cut', async () => {
  const whole = Buffer.from(`12\nhello\n\0world${'frames'}`)
  for (let cut = 1; cut < whole.length; cut++) {
    const stream = new PassThrough()
    const reading = readCompiled(stream, () => hasOutput(stream))
    stream.write(whole.subarray(0, cut))
    await turn()
    stream.write(whole.subarray(cut))
    expect(Buffer.from((await reading) ?? []).toString('latin1')).toBe('hello\n\0world')
    expect(await hasOutput(stream)).toBe(true)
    expect(String(stream.read())).toBe('frames')
  }
})

test('an end in the middle gives nothing', async () => {
  for (const text of ['', '12', '12\nhello']) {
    const stream = new PassThrough()
    stream.end(text)
    expect(await readCompiled(stream, () => hasOutput(stream))).toBeUndefined()
  }
})

test.each(['hello', '\n', '-1\n', '1048577\n', '99999999\n', '12345678901', ' 12\nhello', '0x10\n'])(
  'a beginning %j is refused',
  async (text) => {
    const stream = new PassThrough()
    stream.write(text.padEnd(20, 'x'))
    await expect(readCompiled(stream, () => hasOutput(stream))).rejects.toMatchObject({ code: 'protocol-error' })
  },
)

test('each interpreter has its own, and the oldest goes', () => {
  for (let i = 0; i < 17; i++) keepCompiled(`image ${i}`, Buffer.from([i]))
  expect(compiledFor('image 0')).toBeUndefined()
  expect(compiledFor('image 1')).toEqual(Buffer.from([1]))
  expect(compiledFor('image 17')).toBeUndefined()
})
