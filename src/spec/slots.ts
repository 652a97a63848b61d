import type { CallOptions } from './channel.ts'
import type { Files } from './files.ts'
import type { Argv, Process, RunOptions, RunResult, SpawnOptions } from './process.ts'
import type { AnyplaceError } from './errors.ts'

/**
 * How far slots of one sandbox are kept apart.
 *
 * - `user`: a uid of its own, a private home and TMPDIR, no other place it could write. Names and arguments of the others'
 *   processes can be seen.
 * - `namespace`: a private /tmp and process view too.
 */
export type SlotIsolation = 'user' | 'namespace'

/** What the sandbox can give to slots. */
export interface SlotsInfo {
  /** Per level: undefined when it can be had, else why not, in one line. */
  readonly refused: { readonly [level in SlotIsolation]: string | undefined }
  /** Uids that slots may get here. */
  readonly uids: { readonly first: number; readonly count: number }
  /**
   * True: these uids are this sandbox's alone on the machine already, as seen by its kernel. False: other sandboxes see the
   * same uids, so the one who creates slots must see to it that no two use the same (the kernel counts RLIMIT_NPROC per uid
   * across containers).
   */
  readonly hasOwnUids: boolean
}

export interface SlotRequest {
  /** Unique in the sandbox: `[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?`. */
  readonly name: string
  /** Exactly this uid (and gid); refused with `conflict` when a process or a passwd entry has it. Not with uidRange. */
  readonly uid?: number | undefined
  /** The first free uid of this range. @default a free one of {@link SlotsInfo.uids} */
  readonly uidRange?: { readonly first: number; readonly count: number } | undefined
  /** Processes and threads the slot may have at once, one of ours included. */
  readonly pidsLimit: number
  readonly isolation: SlotIsolation
  /** Absolute; holds the homes of the slots. Made when missing. @default '/data' */
  readonly workspaceBase?: string | undefined
  /** Environment of the slot's commands, on top of the sandbox's. */
  readonly env?: Readonly<Record<string, string>> | undefined
  /** Absolute path of a directory in the sandbox: a copy of it is what the home begins with, and what the reset `template` restores. */
  readonly template?: string | undefined
}

export interface Slot {
  readonly name: string
  /** As seen in the sandbox. The slot's group has the same number. */
  readonly uid: number
  readonly gid: number
  /** Absolute, in the sandbox; mode 0700. Commands start there and relative paths resolve against it. */
  readonly home: string
  /** The level in force. */
  readonly isolation: SlotIsolation
  readonly pidsLimit: number
  readonly template?: string | undefined
  /**
   * `ready`: can be used. `dirty`: a reset could not be verified, or a scan found something; only another `reset` or
   * `remove` may follow.
   */
  readonly state: 'ready' | 'resetting' | 'dirty'
}

/** What was left of a slot where nothing should be. */
export interface SlotRemnant {
  readonly kind: 'process' | 'file' | 'ipc'
  /** A path, `pid 17 (sleep)`, `shm 5` … */
  readonly what: string
}

export interface ResetReport {
  /** True: no process, no file outside the new home and no IPC object of the slot's uid was left when it was looked for. */
  readonly isClean: boolean
  /** What could not be removed; 100 at most. */
  readonly left: readonly SlotRemnant[]
  /** How many processes were killed. */
  readonly killedProcesses: number
  readonly durationMs: number
}

export interface ScanReport {
  /** Everything of the slot's uid anywhere in the sandbox but in its home and TMPDIR; 100 at most. */
  readonly left: readonly SlotRemnant[]
  readonly total: number
  readonly durationMs: number
}

/** One command of a batch. */
export interface SlotCommand {
  /** Name of the slot. */
  readonly slot: string
  readonly argv: Argv
  /** Relative to the slot's home. @default the home */
  readonly cwd?: string | undefined
  readonly env?: Readonly<Record<string, string>> | undefined
  /** For stdin, then end of file. */
  readonly input?: string | Uint8Array | undefined
  /** Kills the command's whole tree; counted from its own start. None by default. */
  readonly timeoutMs?: number | undefined
  /** Kept output per stream; the rest is dropped and `truncated` set. @default 1_048_576 */
  readonly maxOutputBytes?: number | undefined
}

export interface BatchOptions extends CallOptions {
  /** Environment of every command, below its own. */
  readonly env?: Readonly<Record<string, string>> | undefined
  /** For the whole batch: what runs then is killed (124, `timedOut`), what has not begun fails with `timeout`. */
  readonly timeoutMs?: number | undefined
  /** Called as each command ends, in any order. */
  readonly onResult?: ((index: number, result: SlotResult) => void) | undefined
}

/**
 * What became of one command of a batch: its result, whatever the exit code (`processId` is empty: nobody can attach to it), or
 * why it did not run. Exactly one of the two is there.
 */
export type SlotResult =
  | { readonly slot: string; readonly result: RunResult; readonly error?: undefined }
  | { readonly slot: string; readonly result?: undefined; readonly error: AnyplaceError }

/** Result of one command of a slot's shell. */
export interface ShellResult extends RunResult {
  /** Where the shell stands now; undefined when it has ended. */
  readonly cwd: string | undefined
  /** True when this command ended the shell (`exit`, a deadline, a kill): the next one gets a new one, without its state. */
  readonly hasEnded: boolean
}

/** A bash of one slot whose directory, variables and functions persist between calls. One command at a time, in order. */
export interface SlotShell extends AsyncDisposable {
  /**
   * Runs a text in the shell; its stdin is /dev/null. `timeoutMs` and `signal` kill the shell with all it started
   * (exit code 124 or 130, output so far); the next call starts a new one.
   *
   * @throws AnyplaceError `command-not-found` when the sandbox has no bash
   */
  run(
    text: string,
    options?: CallOptions & {
      readonly timeoutMs?: number | undefined
      /** Kept output per stream. @default 1_048_576 */
      readonly maxOutputBytes?: number | undefined
    },
  ): Promise<ShellResult>
  /** Kills the shell and all it started; the next `run` starts a new one. Idempotent. */
  kill(): Promise<void>
}

/**
 * Slots: isolated workspaces inside one sandbox, each with a user of its own. Undefined on sandboxes that cannot hold them
 * (no exec daemon, or one that cannot switch users).
 *
 * Errors of all calls: `not-found` for an unknown slot, `conflict` for one that is dirty or being reset.
 */
export interface Slots {
  info(options?: CallOptions): Promise<SlotsInfo>
  /**
   * Makes a slot. Every place that the slot could write is found and closed to it, except its home and TMPDIR; other users
   * of the sandbox lose nothing.
   *
   * @throws AnyplaceError `already-exists` for the name, `conflict` for a uid in use, `unsupported` with `field: 'isolation'`
   *   and the reason where the level cannot be had, `invalid-argument`
   */
  create(request: SlotRequest, options?: CallOptions): Promise<Slot>
  /** All slots of the sandbox, also those that another client made. */
  list(options?: CallOptions): Promise<readonly Slot[]>
  /**
   * Makes a slot as new: kills every process of its uid, gives it a fresh home (`clean`: empty; `template`: a copy of the
   * template; `none`: the old one, processes and IPC are removed all the same), and removes its IPC objects; then looks
   * whether that is so. What is not clean makes the slot `dirty`.
   */
  reset(
    name: string,
    request?: { readonly strategy?: 'clean' | 'template' | 'none' | undefined },
    options?: CallOptions,
  ): Promise<ResetReport>
  /** Looks through the whole sandbox for what belongs to the slot's uid. Slow; for the background. A find makes it `dirty`. */
  scan(name: string, options?: CallOptions): Promise<ScanReport>
  /** Kills and removes all of it. Idempotent. */
  remove(name: string, options?: CallOptions): Promise<void>
  /**
   * Many commands as one message. Slots work side by side; commands of one slot run in the order given, one after another.
   * Results come in request order. One failure never loses another's result. Aborting `signal` kills what runs and rejects.
   */
  batch(commands: readonly SlotCommand[], options?: BatchOptions): Promise<readonly SlotResult[]>
  /** As a sandbox's `run`, by the slot's user in its home. `user` is refused. */
  run(name: string, argv: Argv, options?: RunOptions): Promise<RunResult>
  /** As a sandbox's `spawn`, by the slot's user in its home. */
  spawn(name: string, argv: Argv, options?: SpawnOptions): Promise<Process>
  /** Files with the rights of the slot's user; relative paths resolve against its home. */
  files(name: string): Files
  /** A new shell in the slot; it starts with its first command. */
  shell(name: string): SlotShell
}
