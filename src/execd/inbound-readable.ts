import type { InboundStream } from './inbound-stream.ts'

const CHUNK_BYTES = 256 * 1024

/**
 * A web stream over an inbound stream. It holds nothing itself: a read takes what came, and so grants more.
 *
 * @param onCancel called when the reader wants no more
 */
export function inboundReadable(stream: InboundStream, onCancel: () => void): ReadableStream<Uint8Array> {
  let controller!: ReadableStreamDefaultController<Uint8Array>
  let isWanted = false
  let isClosed = false
  const deliver = (): void => {
    if (isClosed) return
    const bytes = isWanted ? stream.shift(CHUNK_BYTES) : undefined
    if (bytes !== undefined) {
      isWanted = false
      controller.enqueue(bytes)
    }
    // Enqueuing may have asked for more, and that may have closed it.
    if (isClosed || stream.queuedBytes > 0) return
    if (stream.error !== undefined) {
      isClosed = true
      controller.error(stream.error)
    } else if (stream.isComplete) {
      isClosed = true
      controller.close()
    }
  }
  const readable = new ReadableStream<Uint8Array>(
    {
      start(given) {
        controller = given
      },
      pull() {
        isWanted = true
        deliver()
      },
      cancel() {
        isClosed = true
        stream.discard()
        onCancel()
      },
    },
    { highWaterMark: 0 },
  )
  stream.onChange = deliver
  deliver()
  return readable
}
