import { Readable } from 'node:stream'
import type { Duplex } from 'node:stream'
import { AnyplaceError } from '../../spec/index.ts'

const HEADER_BYTES = 8
const BUFFER_BYTES = 256 * 1024

export interface Demultiplexed {
  readonly stdout: Readable
  readonly stderr: Readable
  /** Settles when the engine ended the stream: undefined when it ended well, else why not. Never rejects. */
  readonly ended: Promise<Error | undefined>
}

/**
 * Splits the engine's stream of an exec without a terminal: frames of one byte for the stream (0 and 1 stdout, 2 stderr),
 * three zeros and a length of four bytes. Bytes are passed on as they come, never collected, and a reader that is slow on
 * either stream holds the source up.
 */
export function demultiplex(source: Duplex): Demultiplexed {
  const blocked = new Set<Readable>()
  const makeOutput = (): Readable => {
    const output: Readable = new Readable({
      highWaterMark: BUFFER_BYTES,
      read() {
        release(output)
      },
      destroy(error, callback) {
        // The rest of this stream is dropped, so that it does not hold the other one up.
        release(output)
        callback(error)
      },
    })
    // A break is told through `ended` too; nobody has to listen here.
    output.on('error', () => {})
    return output
  }
  const release = (output: Readable): void => {
    if (blocked.delete(output) && blocked.size === 0) source.resume()
  }
  const stdout = makeOutput()
  const stderr = makeOutput()

  const header = Buffer.alloc(HEADER_BYTES)
  let headerFilled = 0
  let left = 0
  let target = stdout
  let settled = false
  let settle: (error: Error | undefined) => void = () => {}
  const ended = new Promise<Error | undefined>((resolve) => {
    settle = resolve
  })
  const finish = (error: Error | undefined): void => {
    if (settled) return
    settled = true
    for (const output of [stdout, stderr]) {
      if (error === undefined) output.push(null)
      else output.destroy(error)
    }
    settle(error)
  }

  source.on('data', (chunk: Buffer) => {
    if (settled) return
    let at = 0
    while (at < chunk.length) {
      if (left === 0) {
        const taken = Math.min(HEADER_BYTES - headerFilled, chunk.length - at)
        chunk.copy(header, headerFilled, at, at + taken)
        headerFilled += taken
        at += taken
        if (headerFilled < HEADER_BYTES) return
        headerFilled = 0
        left = header.readUInt32BE(4)
        const kind = header[0] ?? 255
        if (kind > 2) {
          finish(new AnyplaceError('protocol-error', `The engine sent output of an unknown stream ${kind}.`))
          source.destroy()
          return
        }
        target = kind === 2 ? stderr : stdout
        continue
      }
      const end = Math.min(at + left, chunk.length)
      left -= end - at
      if (!target.destroyed && !target.push(chunk.subarray(at, end))) blocked.add(target)
      at = end
    }
    if (blocked.size > 0) source.pause()
  })
  source.once('end', () => {
    const cut = left > 0 || headerFilled > 0
    finish(cut ? lost('in the middle of a frame') : undefined)
  })
  source.once('error', (error) => {
    finish(lost(error.message))
  })
  source.once('close', () => {
    finish(lost('before its end'))
  })
  return { stdout, stderr, ended }
}

function lost(why: string): AnyplaceError {
  return new AnyplaceError('connection-lost', `The engine's stream broke off: ${why}.`)
}
