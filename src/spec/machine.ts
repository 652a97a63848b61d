import type { Duplex } from 'node:stream'
import type { CallOptions, Channel } from './channel.ts'

/** How a process is started on a machine. Its environment is exactly `env`: nothing is inherited. */
export interface MachineRunOptions extends CallOptions {
  readonly env?: Readonly<Record<string, string>> | undefined
  readonly cwd?: string | undefined
  /** Start in a session of its own, so that it outlives this client. @default false */
  readonly detached?: boolean | undefined
}

/**
 * One computer as an engine sees it: this one, or one behind SSH. Engines use nothing else, so every engine works on both.
 */
export interface Machine {
  /** For messages: `this machine`, `gpu-box`. */
  readonly label: string
  /** True when the machine is the one this client runs on, so that its directories can be mounted. */
  readonly isLocal: boolean
  /** The machine's identity and ours on it. */
  facts(options?: CallOptions): Promise<MachineFacts>
  /** Starts a process. Rejects with `command-not-found` when there is no such program. */
  run(argv: readonly string[], options?: MachineRunOptions): Promise<Channel>
  /** Opens a stream to a unix socket. Rejects with `engine-unavailable` and the reason. */
  connect(socketPath: string, options?: CallOptions): Promise<Duplex>
  /**
   * Like `connect`, past whatever else this client has running on the machine: for a stream that lasts and carries much.
   * Undefined where there is no such way.
   */
  connectDirectly(socketPath: string, options?: CallOptions): Promise<Duplex | undefined>
  /** Undefined when there is no such file; other failures reject. */
  readFile(path: string, options?: CallOptions): Promise<Uint8Array | undefined>
  /** Writes all of it or nothing (a temporary file, then a rename). Parents are made with mode 0700. */
  writeFile(path: string, bytes: Uint8Array, options?: CallOptions & { readonly mode?: number }): Promise<void>
  /** Names in a directory; empty when it does not exist. */
  listDirectory(path: string, options?: CallOptions): Promise<readonly string[]>
  makeDirectory(path: string, options?: CallOptions & { readonly mode?: number }): Promise<void>
  /** Removes a tree without following links. No error when it is not there. */
  remove(path: string, options?: CallOptions): Promise<void>
}

/** What an engine must know of a machine before it promises anything. */
export interface MachineFacts {
  readonly platform: 'linux' | 'darwin' | 'other'
  /** Node's spelling: `x64`, `arm64`. */
  readonly architecture: string
  readonly hostname: string
  /** Differs after every boot; with pid and start time it names a process for good. */
  readonly bootId: string
  readonly uid: number
  readonly gid: number
  readonly homeDirectory: string
  /** Where sandboxes of `direct` and `namespace` keep their state: absolute. */
  readonly stateDirectory: string
  readonly cpuCount: number
  readonly memoryMiB: number
  /** Environment variables that select an engine (`DOCKER_HOST`, `DOCKER_CONTEXT`, `CONTAINER_HOST`, `XDG_RUNTIME_DIR`); nothing else. */
  readonly engineEnv: Readonly<Record<string, string>>
  /** Signs that this already runs inside a container; empty on a plain machine. */
  readonly containerSigns: readonly string[]
  /** GPU device names, empty when there are none. */
  readonly gpus: readonly string[]
}
