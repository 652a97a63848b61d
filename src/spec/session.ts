import type { Duplex } from 'node:stream'
import type { CallOptions } from './channel.ts'
import type { Argv, AttachOptions, Process, ProcessInfo, SpawnOptions } from './process.ts'
import type { Files } from './files.ts'
import type { Slots } from './slots.ts'

/** What the whole sandbox uses now. */
export interface Stats {
  readonly cpuSeconds: number
  readonly memoryBytes: number
  readonly memoryLimitBytes?: number | undefined
  readonly processes: number
  /** Of the file system that holds the workdir. */
  readonly diskUsedBytes: number
  readonly diskTotalBytes: number
  /** Memory of the exec daemon and its helpers, part of none of the above. */
  readonly daemonMemoryBytes?: number | undefined
}

/** What a session can do beyond the base; a missing power makes its call fail with `unsupported`. */
export interface SessionPowers {
  /** Processes outlive the client and can be attached to. */
  readonly attach: boolean
  readonly pty: boolean
  readonly tunnels: boolean
  readonly stats: boolean
  /** `extend` works. */
  readonly extend: boolean
  readonly idleTimeout: boolean
  /** The same spawn key twice starts one process. */
  readonly spawnKeys: boolean
}

export interface SessionInfo {
  /** `daemon`: one stream to the exec daemon. `platform`: every command is an exec of the platform's own (slower, same results). */
  readonly path: 'daemon' | 'platform'
  readonly powers: SessionPowers
  /** `exact`: nothing a command started can escape a kill. `lineage`: found by descent. `best-effort`: by descent as far as the platform lets us look. */
  readonly killLevel: 'exact' | 'lineage' | 'best-effort'
  readonly expiresAt?: Date | undefined
  readonly workdir: string
  readonly python?: string | undefined
}

/** Processes, files and ports of one place. The daemon's session and the platform's slow path both give exactly this. */
export interface Session extends AsyncDisposable {
  info(options?: CallOptions): Promise<SessionInfo>
  spawn(argv: Argv, options?: SpawnOptions): Promise<Process>
  attach(processId: string, options?: AttachOptions): Promise<Process>
  processes(options?: CallOptions): Promise<readonly ProcessInfo[]>
  readonly files: Files
  /** Isolated workspaces in it, each with a user of its own; undefined where there can be none. */
  readonly slots?: Slots | undefined
  /** A TCP connection to a port inside, also with the network off. Rejects with `connection-lost` when nothing listens. */
  connect(port: number, options?: CallOptions): Promise<Duplex>
  stats(options?: CallOptions): Promise<Stats>
  /** Moves the end to `timeoutMs` from now, never earlier than it was, never beyond maxLifetimeMs; gives the new end. */
  extend(timeoutMs: number, options?: CallOptions): Promise<Date>
  /** Ends the stream; processes run on. Idempotent. */
  close(): Promise<void>
  /** Settles when the session ended: undefined after `close`, else why. Never rejects. */
  readonly closed: Promise<Error | undefined>
}
