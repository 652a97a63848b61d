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
  // H5 (namespace engine) needs, with `wrap`:
  // 1. hostRunDirectory: the same directory as the connector sees it (the sandbox has it bound at runDirectory, e.g.
  //    /run/anyplace). Outside it may be longer than a unix address holds (107 bytes): connect through a short
  //    /proc/self/fd/N path or chdir. A stale socket there is no daemon.
  // 2. peer check: the connector's uid may be unmapped inside (65534), when root starts a sandbox that runs as another uid.
  //    So with hostRunDirectory set, leave SO_PEERCRED out: the directory is 0700 outside and the commands share our uid.
  // 3. what `wrap` runs becomes pid 1 of the pid namespace; descriptors it needs must be 0, 1, 2 or inheritable; it must not
  //    need /proc/1 of the host, /home or the client's files. The interpreter inside is at the same path as outside
  //    (sys.executable under /usr). `wrap` ends non-zero with one line on stderr when the place could not be built.
  // 4. run/*.pid hold pids as seen inside; the namespace engine records the host's pids itself.
  readonly hostRunDirectory?: string | undefined
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
