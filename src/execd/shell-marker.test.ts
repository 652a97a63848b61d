import fc from 'fast-check'
import { expect, test } from 'vitest'
import { OutputCollector } from '../kit/collect.ts'
import { MarkerScan } from './shell-marker.ts'

const MARK = '0123456789abcdef0123456789abcdef'

function streamOf(bytes: Buffer, cuts: readonly number[]): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      let rest = bytes
      for (const cut of cuts) {
        if (cut > 0 && rest.byteLength > 0) controller.enqueue(rest.subarray(0, cut))
        rest = rest.subarray(Math.min(cut, rest.byteLength))
      }
      if (rest.byteLength > 0) controller.enqueue(rest)
      controller.close()
    },
  })
}

const collector = (): OutputCollector => new OutputCollector({ maxBytes: 10_000, keep: 'tail' })

test('outputs are cut at their marks, however the stream comes', async () => {
  const text = fc.stringMatching(/^[\n0-9a-f\0]{0,40}$/)
  await fc.assert(
    fc.asyncProperty(text, text, fc.array(fc.nat(20)), async (one, other, cuts) => {
      const next = MARK.replace('0', '9')
      const scan = new MarkerScan(streamOf(Buffer.from(`${one}\n${MARK} 0 /a b\0${other}\n${next} 7 /\0`), cuts))
      const outputs = [collector(), collector()] as const
      expect(await scan.until(MARK, outputs[0])).toBe('0 /a b')
      expect(await scan.until(next, outputs[1])).toBe('7 /')
      expect(Buffer.from(outputs[0].bytes()).toString()).toBe(one)
      expect(Buffer.from(outputs[1].bytes()).toString()).toBe(other)
    }),
  )
})

test('without a mark all is output', async () => {
  const output = collector()
  expect(
    await new MarkerScan(streamOf(Buffer.from(`bye\n${MARK.slice(0, 9)}`), [])).until(MARK, output),
  ).toBeUndefined()
  expect(Buffer.from(output.bytes()).toString()).toBe(`bye\n${MARK.slice(0, 9)}`)
})

test('a mark whose words never end is not waited for', async () => {
  const endless = Buffer.concat([Buffer.from(`\n${MARK} 0 `), Buffer.alloc(200_000, 'x')])
  expect(await new MarkerScan(streamOf(endless, [100_000])).until(MARK, collector())).toBeUndefined()
})
