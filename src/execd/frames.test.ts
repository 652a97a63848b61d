import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { FrameDecoder, encodeData, encodeFrame, encodeJson, encodeOffset, readOffset } from './frames.ts'
import { FrameType, HEADER_BYTES, MAGIC, MAX_CONTROL_BYTES, MAX_DATA_BYTES } from './protocol.ts'

interface Frame {
  readonly type: number
  readonly id: number
  payload: Buffer
}

function decode(chunks: readonly Uint8Array[], magic = false): Frame[] {
  const frames: Frame[] = []
  let missing = 0
  const decoder = new FrameDecoder(
    {
      header: (type, id, payloadBytes) => {
        expect(missing).toBe(0)
        if (type === FrameType.data) {
          missing = payloadBytes
          frames.push({ type, id, payload: Buffer.alloc(0) })
        }
      },
      frame: (type, id, payload) => void frames.push({ type, id, payload: Buffer.from(payload) }),
      data: (id, offset, bytes) => {
        const frame = frames.at(-1)!
        expect(id).toBe(frame.id)
        if (frame.payload.length === 0) frame.payload = Buffer.from(encodeOffset(FrameType.end, id, offset)).subarray(9)
        else expect(offset).toBe(readOffset(frame.payload) + frame.payload.length - 8)
        frame.payload = Buffer.concat([frame.payload, bytes])
        missing = bytes.length === 0 || frame.payload.length === missing ? 0 : missing
      },
    },
    { magic },
  )
  for (const chunk of chunks) decoder.push(chunk)
  expect(decoder.atBoundary).toBe(true)
  return frames
}

const frame = fc.record({
  type: fc.constantFrom(FrameType.response, FrameType.ping),
  id: fc.integer({ min: 0, max: 0xffff_ffff }),
  payload: fc.uint8Array({ minLength: 8, maxLength: 8 }).map((bytes) => Buffer.from(bytes)),
})
const longFrame = fc.record({
  type: fc.constant(FrameType.data),
  id: fc.integer({ min: 0, max: 0xffff_ffff }),
  payload: fc
    .tuple(fc.maxSafeNat(), fc.uint8Array({ maxLength: 400 }))
    .map(([offset, bytes]) => Buffer.from(encodeData(0, Math.floor(offset / 2), bytes)).subarray(HEADER_BYTES)),
})

describe('FrameDecoder', () => {
  test('gives the same frames wherever the stream is cut', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(frame, longFrame), { maxLength: 12 }),
        fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 30 }),
        fc.constantFrom('', 'motd\r\n', '\u0001anyplace', '\u0001anyplace-execd\u0001\u0001'),
        (frames, cuts, noise) => {
          const stream = Buffer.concat([
            Buffer.from(noise),
            MAGIC,
            ...frames.map(({ type, id, payload }) => encodeFrame(type, id, payload)),
          ])
          const chunks: Buffer[] = []
          for (let at = 0, turn = 0; at < stream.length; turn++) {
            const end = at + cuts[turn % cuts.length]!
            chunks.push(stream.subarray(at, end))
            at = end
          }
          expect(decode(chunks, true)).toEqual(frames)
          expect(decode([stream], true)).toEqual(frames)
        },
      ),
      { numRuns: 300 },
    )
  })

  test('hands the bytes of data on as they come, without copying them', () => {
    const chunk = encodeData(1, 0, new Uint8Array(100))
    const parts: Uint8Array[] = []
    const decoder = new FrameDecoder(
      { header: () => undefined, frame: () => expect.unreachable(), data: (_id, _offset, bytes) => parts.push(bytes) },
      { magic: false },
    )
    decoder.push(chunk.subarray(0, 50))
    decoder.push(chunk.subarray(50))
    expect(parts.map(({ byteLength }) => byteLength)).toEqual([33, 67])
    expect(parts.every(({ buffer }) => buffer === chunk.buffer)).toBe(true)
  })

  test('asks before it takes memory for a payload', () => {
    const header = Buffer.alloc(HEADER_BYTES)
    header.writeUInt32BE(MAX_DATA_BYTES, 0)
    header[4] = FrameType.data
    const refused = new Error('refused')
    const decoder = new FrameDecoder(
      {
        header: () => {
          throw refused
        },
        frame: () => expect.unreachable(),
        data: () => expect.unreachable(),
      },
      { magic: false },
    )
    expect(() => decoder.push(header)).toThrow(refused)
  })

  test.each([
    [FrameType.data, MAX_DATA_BYTES + 1],
    [FrameType.data, 7],
    [FrameType.response, MAX_CONTROL_BYTES + 1],
    [FrameType.exit, 65_537],
    [FrameType.reset, 65_537],
    [FrameType.window, 9],
    [FrameType.end, 7],
    [FrameType.ping, 9],
    [0, 0],
    [12, 8],
    [255, 0xffff_ffff],
  ])('refuses a frame of type %i with %i bytes by its header', (type, size) => {
    const header = Buffer.alloc(HEADER_BYTES)
    header.writeUInt32BE(size, 0)
    header[4] = type
    expect(() => decode([header])).toThrow(/type/)
  })
})

describe('the encoder', () => {
  test('writes the layout of the protocol', () => {
    expect(Buffer.from(encodeOffset(FrameType.end, 258, 2 ** 40 + 5)).toString('hex')).toBe(
      '0000000806000001020000010000000005',
    )
    expect(Buffer.from(encodeData(1, 3, Buffer.from('hi'))).toString('hex')).toBe(
      `0000000a0500000001${'0000000000000003'}6869`,
    )
    expect(
      Buffer.from(encodeJson(FrameType.request, 2, { op: 'stats' }))
        .toString('latin1')
        .slice(HEADER_BYTES),
    ).toBe('{"op":"stats"}')
  })

  test('keeps bytes that are not UTF-8', () => {
    const [sent] = decode([encodeJson(FrameType.request, 1, { argv: ['a\udcff', '\udc80é'] })])
    expect(sent!.payload.toString()).toContain('\\udcff')
    expect(JSON.parse(sent!.payload.toString())).toEqual({ argv: ['a\udcff', '\udc80é'] })
  })

  test('offsets keep their value up to 2^53', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.uint8Array({ maxLength: 20 }), (offset, bytes) => {
        const [sent] = decode([encodeData(7, offset, bytes)])
        expect(readOffset(sent!.payload)).toBe(offset)
        expect(sent!.payload.subarray(8)).toEqual(Buffer.from(bytes))
      }),
    )
    expect(() => readOffset(Buffer.from('0020000000000000', 'hex'))).toThrow(/2\^53/)
  })

  test('refuses a request that no daemon takes', () => {
    expect(() => encodeJson(FrameType.request, 1, { argv: ['x'.repeat(MAX_CONTROL_BYTES)] })).toThrow(
      expect.objectContaining({ code: 'invalid-argument' }),
    )
  })
})
