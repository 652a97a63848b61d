import type { AnyCommand, CommandHead } from './command.ts'
import { heads } from './verb-heads.ts'

/** How to get the whole of each verb. Its module is imported only when that verb is used: it keeps the start short. */
const LOADERS: Readonly<Record<keyof typeof heads, () => Promise<AnyCommand>>> = {
  run: async () => (await import('./commands/run.ts')).runCommand,
  open: async () => (await import('./commands/open.ts')).openCommand,
  exec: async () => (await import('./commands/exec.ts')).execCommand,
  shell: async () => (await import('./commands/shell.ts')).shellCommand,
  cp: async () => (await import('./commands/cp.ts')).cpCommand,
  port: async () => (await import('./commands/port.ts')).portCommand,
  ps: async () => (await import('./commands/ps.ts')).psCommand,
  logs: async () => (await import('./commands/logs.ts')).logsCommand,
  attach: async () => (await import('./commands/attach.ts')).attachCommand,
  stats: async () => (await import('./commands/stats.ts')).statsCommand,
  kill: async () => (await import('./commands/kill.ts')).killCommand,
  extend: async () => (await import('./commands/extend.ts')).extendCommand,
  rm: async () => (await import('./commands/rm.ts')).rmCommand,
  gc: async () => (await import('./commands/gc.ts')).gcCommand,
  doctor: async () => (await import('./commands/doctor.ts')).doctorCommand,
  probe: async () => (await import('./commands/probe.ts')).probeCommand,
  completion: async () => (await import('./commands/completion.ts')).completionCommand,
}

export const allHeads: readonly CommandHead[] = Object.values(heads)

/** A verb by its name; undefined when there is none. */
export async function loadCommand(name: string | undefined): Promise<AnyCommand | undefined> {
  return name !== undefined && Object.hasOwn(LOADERS, name) ? LOADERS[name as keyof typeof heads]() : undefined
}

/** The whole of every verb, for the completion and the documentation. */
export function loadCommands(): Promise<readonly AnyCommand[]> {
  return Promise.all(Object.values(LOADERS).map((load) => load()))
}
