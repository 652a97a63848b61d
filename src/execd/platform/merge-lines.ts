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
  const arrived: { readonly source: Source; readonly chunk: Uint8Array | undefined }[] = []
  let failure: { readonly error: unknown } | undefined
  let wake = (): void => {}
  // Not Promise.race: a read that waits for hours would hold every chunk of the other stream that won against it.
  const advance = (source: Source): void => {
    source.reader
      .read()
      .then(
        ({ value }) => {
          arrived.push({ source, chunk: value })
        },
        (error: unknown) => {
          failure = { error }
        },
      )
      .then(() => {
        wake()
      })
      .catch(() => {})
  }
  for (const source of sources) advance(source)
  try {
    for (let open = sources.length; open > 0;) {
      const next = arrived.shift()
      if (next === undefined) {
        if (failure !== undefined) throw failure.error
        await new Promise<void>((resolve) => {
          wake = resolve
        })
        continue
      }
      const { chunk, source } = next
      const { splitter, stream } = source
      if (chunk === undefined) open--
      else advance(source)
      for (const text of chunk === undefined ? [] : splitter.push(chunk)) yield { stream, text }
      const last = chunk === undefined ? splitter.end() : undefined
      if (last !== undefined) yield { stream, text: last }
    }
  } finally {
    for (const { reader } of sources) {
      await reader.cancel().catch(() => {})
      reader.releaseLock()
    }
  }
}
