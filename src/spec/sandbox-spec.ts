/** A directory of the machine, seen inside the sandbox. */
export interface Mount {
  /** Absolute path on the machine. It must exist. */
  readonly source: string
  /** Absolute path in the sandbox. */
  readonly target: string
  /** @default false */
  readonly writable?: boolean | undefined
}

export interface GpuRequest {
  /** Such as `H100`; any when left out. */
  readonly type?: string | undefined
  /** @default 1 */
  readonly count?: number | undefined
}

/**
 * What a sandbox shall be. Every field is enforced or refused: a provider that cannot honour one makes `open` fail with
 * `unsupported` and names the field. Undefined means "the default", never "ignore".
 */
export interface SandboxSpec {
  /** An image reference. @default 'python:3.12-slim' where the engine uses images */
  readonly image?: string | undefined
  /** CPUs it needs: reserved where a scheduler places it, refused above the machine's total elsewhere. */
  readonly cpu?: number | undefined
  /** Memory it needs, MiB; the same rule. */
  readonly memoryMiB?: number | undefined
  /** Hard cap in CPUs. None by default. */
  readonly cpuLimit?: number | undefined
  /** Hard cap in MiB; the daemon's own need comes on top. None by default. */
  readonly memoryLimitMiB?: number | undefined
  /** Hard cap on processes and threads of the user's. @default 4096 where the engine can enforce one; otherwise refused when given */
  readonly pidsLimit?: number | undefined
  readonly gpu?: GpuRequest | undefined
  /** Environment of every command. Not for secrets: providers may store it. */
  readonly env?: Readonly<Record<string, string>> | undefined
  readonly mounts?: readonly Mount[] | undefined
  /** Host directory mounted writable at /workspace. Without it /workspace is an empty directory of the sandbox. */
  readonly workspace?: string | undefined
  /** Where commands start and relative paths resolve; made when missing. @default '/workspace' (for `direct`: the sandbox's own directory) */
  readonly workdir?: string | undefined
  /** `uid`, `uid:gid`, `name` or `name:group` that commands run as. Default: the image's user; with a host directory mounted, the caller's uid and gid. */
  readonly user?: string | undefined
  /**
   * How many slots it may hold at once (see Slots). An engine that maps few users into the sandbox must know at the start;
   * others hold slots without it. Refused where there can be none. @default 0 with the namespace engine
   */
  readonly slots?: number | undefined
  /** False: no network but loopback. @default true */
  readonly network?: boolean | undefined
}

/** How long a sandbox lives. */
export interface Lifetime {
  /** Ends the sandbox this long after it was opened; extendable up to maxLifetimeMs. @default 3_600_000 (one hour) */
  readonly timeoutMs: number
  /** The platform ends the sandbox at this age whatever happens. @default timeoutMs */
  readonly maxLifetimeMs: number
  /** Ends it after this long without a running process, client request or open stream. None by default. */
  readonly idleTimeoutMs?: number | undefined
}

export const DEFAULTS = {
  image: 'python:3.12-slim',
  timeoutMs: 3_600_000,
  pidsLimit: 4096,
  /** Kept output per process and stream. */
  journalBytes: 64 * 1024 * 1024,
  /** Collected output of `run` per stream. */
  maxOutputBytes: 10 * 1024 * 1024,
  workdir: '/workspace',
} as const
