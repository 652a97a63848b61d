import type { Process } from '../spec/index.ts'
import type { InputStream } from './cli-io.ts'

/** Passes our stdin on, no faster than the command reads it. Returns how to stop. */
export function feedStdin(process: Process, stdin: InputStream): () => void {
  const writer = process.stdin?.getWriter()
  if (writer === undefined) return () => undefined
  let stopped = false
  const stop = (): void => {
    if (stopped) return
    stopped = true
    stdin.off('data', onData)
    stdin.off('end', onEnd)
    stdin.off('error', onEnd)
    stdin.pause()
  }
  // A command that reads no further is no failure: it ends by itself, and that is what the user sees.
  const onData = (chunk: Buffer): void => {
    stdin.pause()
    writer.write(chunk).then(() => {
      if (!stopped) stdin.resume()
    }, stop)
  }
  const onEnd = (): void => {
    stop()
    writer.close().catch(() => undefined)
  }
  writer.closed.catch(() => undefined)
  if (stdin.readableEnded || stdin.destroyed) onEnd()
  else {
    stdin.on('data', onData)
    stdin.on('end', onEnd)
    stdin.on('error', onEnd)
    stdin.resume()
  }
  return stop
}
