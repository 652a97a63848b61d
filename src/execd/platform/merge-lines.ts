import type { OutputLine } from '../../spec/index.ts'
import { LineSplitter } from '../../kit/lines.ts'

/** Lines of both outputs in the order they came. A failure of either ends it. Leaving the loop cancels both. */
export async function* mergeLines(
  stdout: ReadableStream<Uint8Array>,
  stderr: ReadableStream<Uint8Array>,
): AsyncGenerator<OutputLine, void, undefined> {
  const sources = [
    { stream: 'stdout' as const, reader: stdout.getReader(), splitter: new LineSplitter() },
    { stream: 'stderr' as const, reader: stderr.getReader(), splitter: new LineSplitter() },
  ]
  type Source = (typeof sources)[number]
  const read = async (source: Source): Promise<{ source: Source; chunk: Uint8Array | undefined }> => {
    const { value } = await source.reader.read()
    return { source, chunk: value }
  }
  const pending = new Map<Source, ReturnType<typeof read>>(sources.map((source) => [source, read(source)]))
  try {
    while (pending.size > 0) {
      const { source, chunk } = await Promise.race(pending.values())
      const { splitter, stream } = source
      if (chunk === undefined) pending.delete(source)
      else pending.set(source, read(source))
      const last = chunk === undefined ? splitter.end() : undefined
      for (const text of chunk === undefined ? [] : splitter.push(chunk)) yield { stream, text }
      if (last !== undefined) yield { stream, text: last }
    }
  } finally {
    for (const promise of pending.values()) promise.catch(() => {})
    for (const { reader } of sources) {
      await reader.cancel().catch(() => {})
      reader.releaseLock()
    }
  }
}
