import type { Writable } from 'node:stream'

/**
 * The stdin of a command as a web stream. A write settles when the platform took the bytes, which is the back-pressure.
 * What is written after the command has ended goes nowhere, as into a pipe that nobody reads with SIGPIPE ignored.
 */
export function stdinStream(target: Writable, ended: Promise<unknown>): WritableStream<Uint8Array> {
  let isOver = false
  let settleWrite = (): void => {}
  const onOver = (): void => {
    isOver = true
    settleWrite()
  }
  target.once('close', onOver)
  ended.then(onOver, onOver)
  return new WritableStream<Uint8Array>({
    write(bytes) {
      if (isOver || bytes.byteLength === 0) return undefined
      return new Promise<void>((resolve) => {
        settleWrite = resolve
        target.write(bytes, () => resolve())
      })
    },
    close() {
      if (!isOver) target.end()
    },
    abort() {
      if (!isOver) target.end()
    },
  })
}
