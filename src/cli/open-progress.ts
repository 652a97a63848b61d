import type { CliIo } from './cli-io.ts'
import type { Reporter } from './reporter.ts'

/** What `open` is told so that a person sees what it waits for. */
export function openCallbacks(
  io: CliIo,
  reporter: Reporter,
): { signal: AbortSignal; onProgress: (text: string) => void } {
  reporter.progress('opening a sandbox')
  return { signal: io.signal, onProgress: (text) => reporter.progress(text) }
}
