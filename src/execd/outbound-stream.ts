import type { AnyplaceError } from '../spec/index.ts'
import { encodeData, encodeDataHeader, encodeJson, encodeOffset, protocolError } from './frames.ts'
import type { FrameWriter } from './frame-writer.ts'
import { FrameType, INITIAL_WINDOW_BYTES } from './protocol.ts'

const CHUNK_BYTES = 256 * 1024

/** Bytes to the daemon, never more than it granted. One writer at a time. */
export class OutboundStream {
  readonly id: number
  readonly label: string
  /** Why nothing more can be written; undefined while open. */
  closedBy: AnyplaceError | undefined
  /** Called once when the far end stops taking bytes. */
  onClose: ((reason: AnyplaceError) => void) | undefined
  readonly #writer: FrameWriter
  #sentOffset = 0
  #limitOffset = INITIAL_WINDOW_BYTES
  #isEnded = false
  #wake: (() => void) | undefined

  constructor(writer: FrameWriter, id: number, label: string) {
    this.#writer = writer
    this.id = id
    this.label = label
  }

  /**
   * Resolves when all bytes were sent. They are copied, so the caller may change them then; with `release` they are not, and
   * it is called with them when they may be changed. What fits the window is sent before this returns.
   */
  async write(bytes: Uint8Array, release?: (bytes: Uint8Array) => void): Promise<void> {
    let at = 0
    while (at < bytes.byteLength) {
      if (this.closedBy !== undefined) throw this.closedBy
      const room = Math.min(this.#limitOffset - this.#sentOffset, CHUNK_BYTES)
      if (room <= 0) {
        await new Promise<void>((resolve) => (this.#wake = resolve))
      } else if (!this.#writer.hasRoom) {
        await this.#writer.room()
      } else {
        const part = bytes.subarray(at, at + room)
        if (release === undefined) {
          this.#writer.send(encodeData(this.id, this.#sentOffset, part))
        } else {
          this.#writer.send(encodeDataHeader(this.id, this.#sentOffset, part.byteLength))
          const isLast = at + part.byteLength === bytes.byteLength
          this.#writer.send(part, isLast ? () => release(bytes) : undefined)
        }
        this.#sentOffset += part.byteLength
        at += part.byteLength
      }
    }
  }

  get sentOffset(): number {
    return this.#sentOffset
  }

  /** End of file. Idempotent. */
  end(): void {
    if (this.#isEnded || this.closedBy !== undefined) return
    this.#isEnded = true
    this.#writer.send(encodeOffset(FrameType.end, this.id, this.#sentOffset))
  }

  /** Breaks the stream off: what was sent is not all there should have been. */
  reset(reason: AnyplaceError): void {
    if (this.#isEnded || this.closedBy !== undefined) return
    this.#writer.send(
      encodeJson(FrameType.reset, this.id, { code: 'cancelled', message: 'The client broke the stream off.' }),
    )
    this.close(reason)
  }

  /** The daemon accepts data up to this offset. */
  grant(offset: number): void {
    if (offset < this.#limitOffset) {
      throw protocolError(`The window of ${this.label} moved back from ${this.#limitOffset} to ${offset}.`)
    }
    this.#limitOffset = offset
    this.#resume()
  }

  /** The far end takes no more. */
  close(reason: AnyplaceError): void {
    if (this.closedBy !== undefined) return
    this.closedBy = reason
    this.#resume()
    this.onClose?.(reason)
  }

  #resume(): void {
    const wake = this.#wake
    this.#wake = undefined
    wake?.()
  }
}
