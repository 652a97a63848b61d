/** Placeholder for the interface; being written. */
import type { CallOptions, Channel } from '../spec/index.ts'

/** What the daemon of one sandbox is told when it starts. Sent on stdin, never in argv or the environment. */
export interface DaemonConfig {
  readonly sandboxId: string
  /** Absolute, inside the sandbox: holds the socket, the expiry and the pid file. Made 0700. */
  readonly runDirectory: string
  /** Absolute. Made when missing, owned by the user. */
  readonly workdir: string
  /** `uid`, `uid:gid`, `name` …; undefined: the daemon's own user. */
  readonly user?: string | undefined
  /** The base environment of commands. */
  readonly env: Readonly<Record<string, string>>
  /** Also take the environment that the platform started the daemon with (a container image's ENV). */
  readonly inheritEnv: boolean
  readonly expiresAtMs: number
  readonly maxExpiresAtMs: number
  readonly idleTimeoutMs?: number | undefined
  readonly journalBytes: number
  /** Absolute directory on a disk where journals beyond 1 MiB spill. Undefined: they stay in memory. */
  readonly journalDirectory?: string | undefined
  /**
   * `external`: pid 1 of the place is already our supervisor (containers). `self`: the daemon starts one.
   */
  readonly supervisor: 'external' | 'self'
  /** True when ending pid 1 ends every process (own pid namespace). */
  readonly ownPidNamespace: boolean
}

/** Sources of the daemon's modules, joined into the bundle that the loader reads from its stdin. */
export declare function daemonBundle(): Promise<Uint8Array>

/**
 * argv that starts a connector: it reads the bundle and the config from stdin (`bootstrapInput`), starts the daemon unless
 * its socket answers, hands its own stdin and stdout to it and waits. `start: false` never starts one.
 */
export declare function connectorArgv(bundleBytes: number): readonly string[]

/** Everything that a connector reads before the frames. */
export declare function bootstrapInput(
  config: DaemonConfig,
  options: { readonly start: boolean; readonly wrap?: readonly string[] },
): Promise<Uint8Array>

/** Runs a connector through `run` and writes the bootstrap to it; the channel then carries frames. */
export declare function bootstrap(
  run: (argv: readonly string[], options: CallOptions) => Promise<Channel>,
  config: DaemonConfig,
  options: CallOptions & { readonly start: boolean; readonly wrap?: readonly string[] },
): Promise<Channel>

/** One argv string with the source of the supervisor that runs as pid 1 of a container (python3 -c …). */
export declare function supervisorSource(): Promise<string>
