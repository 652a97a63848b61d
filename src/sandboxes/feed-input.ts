import type { Process, RunOptions } from '../spec/index.ts'

/** Writes a command's input while the command runs. */
export interface InputFeed {
  /** True once everything was written and the end was sent. */
  readonly isComplete: boolean
  /** Rejects when the caller's own source failed; otherwise never settles. */
  readonly failed: Promise<never>
  /** Takes no more from the source; a write under way is given up. Idempotent. */
  stop(): void
}

/** Sends `input` to the process's stdin, then end of file. A command that stops reading early is no error. */
export function feedInput(process: Process, input: NonNullable<RunOptions['input']>): InputFeed {
  let isComplete = false
  let stopped = false
  const source = chunksOf(input)
  let fail: (error: unknown) => void = () => undefined
  const failed = new Promise<never>((_resolve, reject) => {
    fail = reject
  })
  failed.catch(() => undefined)
  const writer = process.stdin?.getWriter()
  writer?.closed.catch(() => undefined)

  async function feed(): Promise<void> {
    if (writer === undefined) return
    while (!stopped) {
      let next
      try {
        next = await source.next()
      } catch (error) {
        fail(error)
        return
      }
      try {
        if (next.done === true) {
          await writer.close()
          isComplete = true
          return
        }
        await writer.write(next.value)
      } catch {
        // The command closed its stdin or ended, or the link broke: wait() tells which.
        break
      }
    }
    await source.return?.(undefined)
  }
  void feed().catch(fail)

  return {
    get isComplete() {
      return isComplete
    },
    failed,
    stop() {
      if (stopped) return
      stopped = true
      if (!isComplete) void writer?.abort().catch(() => undefined)
    },
  }
}

async function* chunksOf(input: NonNullable<RunOptions['input']>): AsyncGenerator<Uint8Array, void, undefined> {
  if (typeof input === 'string') yield new TextEncoder().encode(input)
  else if (input instanceof Uint8Array) yield input
  else yield* input
}
