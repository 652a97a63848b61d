import type * as nodes from '../nodes/open.ts'

/** What the command line calls of the library. */
export type CliApi = Pick<typeof nodes, 'open' | 'attach' | 'list' | 'gc' | 'remove' | 'doctor'>

export type CliSandbox = Awaited<ReturnType<CliApi['attach']>>

/** Imported when a command runs, never for help or completion. */
export async function loadApi(): Promise<CliApi> {
  return import('../nodes/open.ts')
}
