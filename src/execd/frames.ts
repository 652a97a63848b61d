import { AnyplaceError } from '../spec/index.ts'
import { FrameType, HEADER_BYTES, MAGIC, MAX_CONTROL_BYTES, MAX_DATA_BYTES, MAX_NOISE_BYTES } from './protocol.ts'
import { printable } from './printable.ts'

const OFFSET_BYTES = 8
const SMALL_CONTROL_BYTES = 64 * 1024
const MAX_OFFSET_HIGH = 0x1fffff

/** The most payload of each type. A frame of another type or above its cap is refused before memory is taken for it. */
const PAYLOAD_LIMITS: Readonly<Record<number, { readonly min: number; readonly max: number }>> = {
  [FrameType.hello]: { min: 2, max: SMALL_CONTROL_BYTES },
  [FrameType.request]: { min: 2, max: MAX_CONTROL_BYTES },
  [FrameType.response]: { min: 2, max: MAX_CONTROL_BYTES },
  [FrameType.exit]: { min: 2, max: SMALL_CONTROL_BYTES },
  [FrameType.data]: { min: OFFSET_BYTES, max: MAX_DATA_BYTES },
  [FrameType.end]: { min: OFFSET_BYTES, max: OFFSET_BYTES },
  [FrameType.window]: { min: OFFSET_BYTES, max: OFFSET_BYTES },
  [FrameType.reset]: { min: 2, max: SMALL_CONTROL_BYTES },
  [FrameType.ping]: { min: 8, max: 8 },
  [FrameType.pong]: { min: 8, max: 8 },
  [FrameType.notification]: { min: 2, max: MAX_CONTROL_BYTES },
}

/** What a decoder hands its frames to. All are called synchronously; what they throw leaves `push`. */
export interface FrameReceiver {
  /** Called when the header is there and before memory is taken for the payload: throw to refuse the frame. */
  header(type: number, id: number, payloadBytes: number): void
  /** Any frame but data. The payload may be a view of the chunk that was pushed: copy what is kept for long. */
  frame(type: number, id: number, payload: Uint8Array): void
  /** A data frame, or a part of one with the offset of its first byte: handed on as it comes. Views, as above. */
  data(id: number, offset: number, bytes: Uint8Array): void
}

/** A violation of the wire's rules. Ends the session. */
export function protocolError(message: string, hint?: string): AnyplaceError {
  return new AnyplaceError('protocol-error', message, {
    hint: hint ?? 'the far end is not the exec daemon of this version, or it misbehaves; open a new sandbox',
  })
}

/**
 * Cuts a byte stream into frames. Holds at most one payload, never above its type's cap.
 *
 * Throws `protocol-error` from `push`; it must not be used after that.
 */
export class FrameDecoder {
  readonly #receiver: FrameReceiver
  /** How much of MAGIC matched so far; MAGIC.length once frames follow. */
  #magicMatched: number
  #noiseBytes = 0
  #noiseStart = ''
  readonly #header = new Uint8Array(HEADER_BYTES)
  #headerFilled = 0
  /** Set while a payload is put together from several chunks. */
  #payload: Uint8Array | undefined
  #payloadFilled = 0
  #type = 0
  #id = 0
  /** Bytes that are missing of the data frame under way, and where in their stream they belong. */
  #dataLeft = 0
  #dataOffset = 0

  /** @param options.magic whether MAGIC (and noise before it) comes first, as it does from the daemon */
  constructor(receiver: FrameReceiver, options: { readonly magic: boolean }) {
    this.#receiver = receiver
    this.#magicMatched = options.magic ? 0 : MAGIC.byteLength
  }

  /** True between two frames: a stream that ends elsewhere was cut. */
  get atBoundary(): boolean {
    return this.#headerFilled === 0 && this.#payload === undefined && this.#dataLeft === 0
  }

  /** True once MAGIC was seen. */
  get started(): boolean {
    return this.#magicMatched === MAGIC.byteLength
  }

  /** The beginning of what came before MAGIC, fit for a message. */
  get noise(): string {
    return printable(this.#noiseStart, 200)
  }

  push(chunk: Uint8Array): void {
    let at = this.started ? 0 : this.#skipNoise(chunk)
    const length = chunk.byteLength
    while (at < length) {
      if (this.#payload === undefined && this.#dataLeft > 0) {
        at = this.#data(chunk, at)
        continue
      }
      if (this.#payload !== undefined) {
        const part = Math.min(this.#payload.byteLength - this.#payloadFilled, length - at)
        this.#payload.set(chunk.subarray(at, at + part), this.#payloadFilled)
        this.#payloadFilled += part
        at += part
        if (this.#payloadFilled < this.#payload.byteLength) return
        const payload = this.#payload
        this.#payload = undefined
        if (this.#type === FrameType.data) this.#beginData(payload, 0)
        else this.#receiver.frame(this.#type, this.#id, payload)
        continue
      }
      if (this.#headerFilled > 0 || length - at < HEADER_BYTES) {
        const part = Math.min(HEADER_BYTES - this.#headerFilled, length - at)
        this.#header.set(chunk.subarray(at, at + part), this.#headerFilled)
        this.#headerFilled += part
        at += part
        if (this.#headerFilled < HEADER_BYTES) return
        this.#headerFilled = 0
        at = this.#begin(this.#header, 0, chunk, at)
      } else {
        at = this.#begin(chunk, at, chunk, at + HEADER_BYTES)
      }
    }
  }

  /** Reads a header; hands the frame out when its payload is in the chunk, else prepares for the rest. Gives the new position. */
  #begin(header: Uint8Array, headerAt: number, chunk: Uint8Array, at: number): number {
    const size = readU32(header, headerAt)
    const type = header[headerAt + 4]!
    const id = readU32(header, headerAt + 5)
    const limits = PAYLOAD_LIMITS[type]
    if (limits === undefined) throw protocolError(`Frame of unknown type ${type} (id ${id}, ${size} bytes).`)
    if (size < limits.min || size > limits.max) {
      throw protocolError(
        `Frame of type ${type} (id ${id}) says it has ${size} bytes; ${limits.min} to ${limits.max} are allowed.`,
      )
    }
    this.#receiver.header(type, id, size)
    this.#type = type
    this.#id = id
    this.#payloadFilled = 0
    if (type === FrameType.data) {
      // Only the offset is put together; the bytes behind it are not.
      this.#dataLeft = size - OFFSET_BYTES
      if (chunk.byteLength - at >= OFFSET_BYTES) {
        this.#beginData(chunk, at)
        return at + OFFSET_BYTES
      }
      this.#payload = new Uint8Array(OFFSET_BYTES)
    } else if (chunk.byteLength - at >= size) {
      this.#receiver.frame(type, id, chunk.subarray(at, at + size))
      return at + size
    } else {
      this.#payload = new Uint8Array(size)
    }
    return at
  }

  #beginData(payload: Uint8Array, at: number): void {
    this.#dataOffset = readOffset(payload, at)
    // It has to be in its place all the same.
    if (this.#dataLeft === 0) this.#receiver.data(this.#id, this.#dataOffset, payload.subarray(0, 0))
  }

  #data(chunk: Uint8Array, at: number): number {
    const bytes = chunk.subarray(at, at + this.#dataLeft)
    const offset = this.#dataOffset
    this.#dataLeft -= bytes.byteLength
    this.#dataOffset += bytes.byteLength
    this.#receiver.data(this.#id, offset, bytes)
    return at + bytes.byteLength
  }

  #skipNoise(chunk: Uint8Array): number {
    for (let at = 0; at < chunk.byteLength; at++) {
      const byte = chunk[at]!
      // All of MAGIC but its last byte ends with its first byte: when the last one fails, that may be a new beginning.
      if (this.#magicMatched === MAGIC.byteLength - 1 && byte !== MAGIC[this.#magicMatched]) this.#magicMatched = 1
      if (byte === MAGIC[this.#magicMatched]) this.#magicMatched++
      else this.#magicMatched = byte === MAGIC[0] ? 1 : 0
      if (this.started) return at + 1
      if (this.#noiseStart.length < 400) this.#noiseStart += String.fromCharCode(byte)
      if (++this.#noiseBytes > MAX_NOISE_BYTES + MAGIC.byteLength) {
        throw protocolError(
          `No exec daemon answered: ${MAX_NOISE_BYTES} bytes came before its greeting, beginning with ${JSON.stringify(this.noise)}.`,
          'a login shell, a wrapper or the platform prints into the stream; make it quiet',
        )
      }
    }
    return chunk.byteLength
  }
}

/** A frame whose payload is ready bytes. */
export function encodeFrame(type: number, id: number, payload: Uint8Array): Uint8Array {
  const frame = Buffer.allocUnsafe(HEADER_BYTES + payload.byteLength)
  writeHeader(frame, payload.byteLength, type, id)
  frame.set(payload, HEADER_BYTES)
  return frame
}

/** A control frame. JSON escapes lone surrogates, so bytes that are not UTF-8 survive. */
export function encodeJson(type: number, id: number, value: unknown): Uint8Array {
  const text = JSON.stringify(value)
  const size = Buffer.byteLength(text)
  if (size > MAX_CONTROL_BYTES) {
    throw new AnyplaceError(
      'invalid-argument',
      `The request is ${size} bytes long; at most ${MAX_CONTROL_BYTES} can be sent.`,
      {
        hint: 'send large content through a file or through stdin, not through argv or env',
        data: { limitBytes: MAX_CONTROL_BYTES },
      },
    )
  }
  const frame = Buffer.allocUnsafe(HEADER_BYTES + size)
  writeHeader(frame, size, type, id)
  frame.write(text, HEADER_BYTES)
  return frame
}

/** A data frame; the bytes are copied. */
export function encodeData(id: number, offset: number, bytes: Uint8Array): Uint8Array {
  const frame = Buffer.allocUnsafe(HEADER_BYTES + OFFSET_BYTES + bytes.byteLength)
  writeDataHeader(frame, id, offset, bytes.byteLength)
  frame.set(bytes, HEADER_BYTES + OFFSET_BYTES)
  return frame
}

/** What stands before the bytes of a data frame. */
export function encodeDataHeader(id: number, offset: number, byteLength: number): Uint8Array {
  const header = Buffer.allocUnsafe(HEADER_BYTES + OFFSET_BYTES)
  writeDataHeader(header, id, offset, byteLength)
  return header
}

/** An `end` or `window` frame. */
export function encodeOffset(type: number, id: number, offset: number): Uint8Array {
  const frame = Buffer.allocUnsafe(HEADER_BYTES + OFFSET_BYTES)
  writeHeader(frame, OFFSET_BYTES, type, id)
  writeOffset(frame, HEADER_BYTES, offset)
  return frame
}

/** The offset in a data, end or window payload. */
export function readOffset(payload: Uint8Array, at = 0): number {
  const high = readU32(payload, at)
  if (high > MAX_OFFSET_HIGH) throw protocolError(`An offset is beyond 2^53 (its upper half is ${high}).`)
  return high * 2 ** 32 + readU32(payload, at + 4)
}

function writeDataHeader(frame: Buffer, id: number, offset: number, byteLength: number): void {
  writeHeader(frame, OFFSET_BYTES + byteLength, FrameType.data, id)
  writeOffset(frame, HEADER_BYTES, offset)
}

function writeHeader(frame: Buffer, size: number, type: number, id: number): void {
  frame.writeUInt32BE(size, 0)
  frame[4] = type
  frame.writeUInt32BE(id, 5)
}

function writeOffset(frame: Buffer, at: number, offset: number): void {
  frame.writeUInt32BE(Math.floor(offset / 2 ** 32), at)
  frame.writeUInt32BE(offset % 2 ** 32, at + 4)
}

function readU32(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0
}
