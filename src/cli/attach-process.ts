import { AnyplaceError } from '../spec/index.ts'
import type { Process } from '../spec/index.ts'
import type { CliSandbox } from './api.ts'

/** A process that is being written to may discard more between two tries. */
const TRIES = 10

export interface AttachedProcess {
  readonly process: Process
  /** Where the replay begins; above 0 when older output has been discarded. */
  readonly fromOffset: { readonly stdout: number; readonly stderr: number }
}

/** Attaches at the oldest output that is still kept. */
export async function attachProcess(box: CliSandbox, id: string, signal: AbortSignal): Promise<AttachedProcess> {
  const fromOffset = { stdout: 0, stderr: 0 }
  for (let tries = 1; ; tries++) {
    try {
      return { process: await box.attach(id, { fromOffset, signal }), fromOffset }
    } catch (error) {
      if (AnyplaceError.is(error, 'process-not-found')) {
        const hint = `see: anyplace ps ${box.name}`
        throw new AnyplaceError(error.code, error.message, { cause: error, hint })
      }
      const { firstOffset, stream } = AnyplaceError.is(error, 'output-discarded') ? (error.data ?? {}) : {}
      if (typeof firstOffset !== 'number' || tries === TRIES) throw error
      if (stream !== 'stdout' && stream !== 'stderr') throw error
      fromOffset[stream] = firstOffset
    }
  }
}

/** A remark for people on output that is not there any more. */
export function discardedNote({ fromOffset }: AttachedProcess): string | undefined {
  const gone = (['stdout', 'stderr'] as const).filter((stream) => fromOffset[stream] > 0)
  if (gone.length === 0) return undefined
  return `older output is gone: ${gone.map((stream) => `the first ${fromOffset[stream]} bytes of ${stream}`).join(' and ')}`
}
