import type { CallOptions, Channel } from './channel.ts'
import type { Machine } from './machine.ts'
import type { Lifetime, SandboxSpec } from './sandbox-spec.ts'

/** The process that a sandbox belongs to; all fields together name it for good. */
export interface Owner {
  readonly hostname: string
  readonly bootId: string
  /** The pid namespace's inode, since pids of two containers may be equal. */
  readonly pidNamespace: string
  readonly pid: number
  /** Clock ticks since boot (field 22 of /proc/PID/stat). */
  readonly startTime: string
}

export interface OpenRequest extends CallOptions {
  readonly spec: SandboxSpec
  readonly lifetime: Lifetime
  /** Unique id made by the caller, `[a-z0-9]{12,}`; every object of the sandbox is labelled with it. */
  readonly id: string
  /** Unique among the provider's live sandboxes: `[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?`. */
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  /** Undefined: belongs to nobody and lives to its lifetime. */
  readonly owner: Owner | undefined
  /** What to compare when a named sandbox is opened again; opaque to providers, kept as it is. */
  readonly specDigest: string
  /** Engine asked for by `on: 'local/<engine>'`, else undefined and the provider chooses. */
  readonly engine?: string | undefined
  /** Called with short facts on long work ("pulling python:3.12-slim"). */
  readonly onProgress?: ((message: string) => void) | undefined
}

export type Isolation = 'none' | 'namespace' | 'container' | 'vm'

/** A sandbox as its platform tells it, also one that nobody is connected to. */
export interface HostInfo {
  readonly id: string
  readonly name: string
  readonly provider: string
  readonly engine?: string | undefined
  readonly state: 'starting' | 'running' | 'exited'
  readonly createdAt: Date
  /** The end as the platform knows it: after `extend` the daemon may know a later one, never beyond maxLifetimeMs. */
  readonly expiresAt: Date
  readonly owner: Owner | undefined
  readonly labels: Readonly<Record<string, string>>
  readonly specDigest: string
  readonly isolation: Isolation
  /** Limits in force, as the platform reports them. Undefined: none. */
  readonly limits: { readonly cpuLimit?: number; readonly memoryLimitMiB?: number; readonly pidsLimit?: number }
  /** `host`: shares the machine's network. */
  readonly network: 'none' | 'own' | 'host'
  readonly image?: string | undefined
  readonly workdir: string
  /** Why it exited, when known. */
  readonly reason?: string | undefined
  /** False: the machine may end it when the last connection to it ends. Undefined: nothing but its lifetime does. */
  readonly durable?: boolean | undefined
}

export interface Finding {
  /** `docker`, `podman`, `cgroups` … */
  readonly subject: string
  readonly status: 'ok' | 'warning' | 'unavailable'
  /** What was found, with versions and paths. */
  readonly message: string
  /** The next step when it is not ok. */
  readonly hint?: string | undefined
}

/** One isolated place. */
export interface Host extends AsyncDisposable {
  readonly id: string
  readonly name: string
  readonly provider: string
  /**
   * A channel to the place's exec daemon, started if it does not run. May be called again after the last one broke.
   * Rejects with `no-exec-daemon` where none can run (an image without Python), `sandbox-gone` when the place has ended.
   */
  connect(options?: CallOptions): Promise<Channel>
  /** A raw process in the place, started by the platform. The slow path where there is no daemon; absent where there always is one. */
  channel?(
    argv: readonly string[],
    options?: CallOptions & {
      readonly env?: Readonly<Record<string, string>>
      readonly cwd?: string
      readonly user?: string
      readonly tty?: boolean
    },
  ): Promise<Channel>
  info(options?: CallOptions): Promise<HostInfo>
  /** Ends the place and removes everything labelled with it. Idempotent; also when the place has gone already. */
  close(options?: CallOptions): Promise<void>
}

/** Where sandboxes come from. An optional member is a power: present, or absent, never pretended. */
export interface Provider {
  readonly type: string
  readonly contractVersion: 1
  /** Throws `unsupported` for any field it cannot enforce, `conflict` when the name is taken, and leaves nothing behind when it fails. */
  open(request: OpenRequest): Promise<Host>
  /** By name or id; undefined when no such sandbox runs. Never changes its lifetime. */
  attach(nameOrId: string, options?: CallOptions): Promise<Host | undefined>
  /** Everything that carries our label there, running or not. */
  list(options?: CallOptions): AsyncIterable<HostInfo>
  /** Removes what is left of a sandbox, running or not. Idempotent. */
  remove(id: string, options?: CallOptions): Promise<void>
  /** For doctor: what works, what does not, and the next step. */
  check(options?: CallOptions): Promise<readonly Finding[]>
  /** The machine itself, outside of every sandbox, for `probe`. Absent where there is no one machine (a cloud, a cluster). */
  machine?(options?: CallOptions): Promise<Machine>
}

/** How one machine isolates. The same contract as a provider's, plus a name and its own check. */
export interface Engine {
  readonly name: string
  open(request: OpenRequest): Promise<Host>
  attach(nameOrId: string, options?: CallOptions): Promise<Host | undefined>
  list(options?: CallOptions): AsyncIterable<HostInfo>
  remove(id: string, options?: CallOptions): Promise<void>
  /** `ok` when it can be chosen. */
  check(options?: CallOptions): Promise<Finding>
}
