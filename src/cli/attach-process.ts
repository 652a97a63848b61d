import { AnyplaceError } from '../spec/index.ts'
import type { Process } from '../spec/index.ts'
import type { CliSandbox } from './api.ts'

/** Attaches at the oldest output that is still kept. */
export async function attachProcess(box: CliSandbox, id: string, signal: AbortSignal): Promise<Process> {
  try {
    return await box.attach(id, { fromOffset: 'kept', signal })
  } catch (error) {
    if (!AnyplaceError.is(error, 'process-not-found')) throw error
    throw new AnyplaceError(error.code, error.message, { cause: error, hint: `see: anyplace ps ${box.name}` })
  }
}

/** A remark for people on output that is not there any more. */
export function discardedNote({ fromOffset }: Process): string | undefined {
  const gone = (['stdout', 'stderr'] as const).filter((stream) => fromOffset[stream] > 0)
  if (gone.length === 0) return undefined
  return `older output is gone: ${gone.map((stream) => `the first ${fromOffset[stream]} bytes of ${stream}`).join(' and ')}`
}
