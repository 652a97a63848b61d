import type { AnyCommand } from './command.ts'
import { groupNamed } from './verb-heads.ts'
import type { heads } from './verb-heads.ts'

/** How to get the whole of each verb. Its module is imported only when that verb is used: it keeps the start short. */
const LOADERS: Readonly<Record<keyof typeof heads, () => Promise<AnyCommand>>> = {
  run: async () => (await import('./commands/run.ts')).runCommand,
  open: async () => (await import('./commands/open.ts')).openCommand,
  exec: async () => (await import('./commands/exec.ts')).execCommand,
  shell: async () => (await import('./commands/shell.ts')).shellCommand,
  cp: async () => (await import('./commands/cp.ts')).cpCommand,
  sync: async () => (await import('./commands/sync.ts')).syncCommand,
  port: async () => (await import('./commands/port.ts')).portCommand,
  ps: async () => (await import('./commands/ps.ts')).psCommand,
  logs: async () => (await import('./commands/logs.ts')).logsCommand,
  attach: async () => (await import('./commands/attach.ts')).attachCommand,
  stats: async () => (await import('./commands/stats.ts')).statsCommand,
  kill: async () => (await import('./commands/kill.ts')).killCommand,
  extend: async () => (await import('./commands/extend.ts')).extendCommand,
  rm: async () => (await import('./commands/rm.ts')).rmCommand,
  gc: async () => (await import('./commands/gc.ts')).gcCommand,
  'nodes add': async () => (await import('./commands/nodes.ts')).nodesAddCommand,
  'nodes list': async () => (await import('./commands/nodes.ts')).nodesListCommand,
  'nodes show': async () => (await import('./commands/nodes.ts')).nodesShowCommand,
  'nodes test': async () => (await import('./commands/nodes.ts')).nodesTestCommand,
  'nodes default': async () => (await import('./commands/nodes.ts')).nodesDefaultCommand,
  'nodes rm': async () => (await import('./commands/nodes.ts')).nodesRmCommand,
  'keys generate': async () => (await import('./commands/keys.ts')).keysGenerateCommand,
  'keys add': async () => (await import('./commands/keys.ts')).keysAddCommand,
  'keys list': async () => (await import('./commands/keys.ts')).keysListCommand,
  'keys show': async () => (await import('./commands/keys.ts')).keysShowCommand,
  'keys rm': async () => (await import('./commands/keys.ts')).keysRmCommand,
  'keys copy-id': async () => (await import('./commands/keys-copy-id.ts')).keysCopyIdCommand,
  'hosts trust': async () => (await import('./commands/hosts.ts')).hostsTrustCommand,
  'hosts list': async () => (await import('./commands/hosts.ts')).hostsListCommand,
  'hosts rm': async () => (await import('./commands/hosts.ts')).hostsRmCommand,
  'pools up': async () => (await import('./commands/pools.ts')).poolsUpCommand,
  'pools status': async () => (await import('./commands/pools.ts')).poolsStatusCommand,
  'pools exec': async () => (await import('./commands/pools.ts')).poolsExecCommand,
  'pools down': async () => (await import('./commands/pools.ts')).poolsDownCommand,
  'pools config': async () => (await import('./commands/pools.ts')).poolsConfigCommand,
  doctor: async () => (await import('./commands/doctor.ts')).doctorCommand,
  probe: async () => (await import('./commands/probe.ts')).probeCommand,
  completion: async () => (await import('./commands/completion.ts')).completionCommand,
}

/** How many of the words name the verb: two where the first is that of a group, such as `keys list`. */
export function verbLength(words: readonly string[]): number {
  return groupNamed(words[0]) !== undefined && Object.hasOwn(LOADERS, `${words[0]} ${words[1]}`) ? 2 : 1
}

/** A verb by its name; undefined when there is none. */
export async function loadCommand(name: string | undefined): Promise<AnyCommand | undefined> {
  return name !== undefined && Object.hasOwn(LOADERS, name) ? LOADERS[name as keyof typeof heads]() : undefined
}

/** The whole of every verb, for the completion and the documentation. */
export function loadCommands(): Promise<readonly AnyCommand[]> {
  return Promise.all(Object.values(LOADERS).map((load) => load()))
}
