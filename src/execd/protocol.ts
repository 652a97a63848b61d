/**
 * The wire between a client and the exec daemon, version 1. The daemon's half is `daemon/wire.py`.
 *
 * The daemon writes MAGIC, then frames both ways:
 *
 *     length  u32 big-endian, bytes of the payload only (the header is 9 bytes)
 *     type    u8
 *     id      u32 big-endian
 *     payload
 *
 * Control payloads are UTF-8 JSON. Strings that name bytes of the system (argv, env, paths) use `surrogateescape`: a byte
 * that is not UTF-8 travels as the escaped lone surrogate U+DC80..U+DCFF. Data payloads are a u64 big-endian offset in the
 * stream and then raw bytes.
 *
 * Ids are issued by the client only and never used twice on one connection; requests and streams draw from one counter.
 * Anything else from the daemon is a protocol error and ends the session.
 */
export const PROTOCOL_VERSION = 1
/** Skips whatever a login shell or a platform prints first. The first byte never occurs in text. */
export const MAGIC: Uint8Array = new TextEncoder().encode('\u0001anyplace-execd\u0001\n')
/** What a client sends first that connects to the daemon's unix socket itself, for the frames to come over that socket. */
export const SOCKET_GREETING: Uint8Array = Uint8Array.of(2)
/** More noise than this before MAGIC is not our daemon. */
export const MAX_NOISE_BYTES: number = 64 * 1024
export const HEADER_BYTES = 9
export const MAX_CONTROL_BYTES: number = 8 * 1024 * 1024
/** Offset and bytes of one data frame. Senders use at most 256 KiB of bytes. */
export const MAX_DATA_BYTES: number = 1024 * 1024 + 8
/** Bytes a receiver grants a new stream before it says more. */
export const INITIAL_WINDOW_BYTES: number = 1024 * 1024

export const FrameType = {
  /** daemon → client, once, id 0: HelloPayload */
  hello: 1,
  /** client → daemon: Request; id is the request's */
  request: 2,
  /** daemon → client: Response to that id; exactly one per request, none for a notification */
  response: 3,
  /** daemon → client: ExitEvent for the spawn or attach request of that id */
  exit: 4,
  /** both: u64 offset and bytes; id is the stream's */
  data: 5,
  /** both: u64 final offset; no more data on that stream */
  end: 6,
  /** both: u64; the sender of this frame accepts data up to this absolute offset. Never moves back. */
  window: 7,
  /** both: JSON WireError; the stream ended badly (or is no longer wanted) */
  reset: 8,
  /** both: 8 opaque bytes; the other end answers with pong and the same bytes */
  ping: 9,
  pong: 10,
  /** client → daemon: a Request that gets no response; id 0 */
  notification: 11,
} as const
export type FrameType = (typeof FrameType)[keyof typeof FrameType]

export interface HelloPayload {
  readonly version: number
  readonly sandboxId: string
  readonly workdir: string
  readonly killLevel: 'exact' | 'lineage'
  readonly python: string
  readonly pid: number
  /** Milliseconds since the epoch. */
  readonly expiresAtMs: number
  /** What slots can be had; null reasons mean that a level can. Left out by a daemon that knows no slots. */
  readonly slots?: {
    readonly user: string | null
    readonly namespace: string | null
    readonly uids: { readonly first: number; readonly count: number }
    /** The uids are no other place's on this machine. */
    readonly own: boolean
  }
}

/** `code` is one of the ErrorCode table; the client maps an unknown one to protocol-error. */
export interface WireError {
  readonly code: string
  readonly message: string
  readonly hint?: string
  readonly data?: Readonly<Record<string, string | number | boolean>>
}

export type Response<T> = { readonly ok: T } | { readonly error: WireError }

/** For every stream id: the client must have issued it; 0 means "no such stream". */
export interface SpawnRequest {
  readonly op: 'spawn'
  readonly argv: readonly string[]
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string>>
  readonly user?: string
  /** Name of the slot that it shall run in, by its user and from its home; without `user`. */
  readonly slot?: string
  /** Client → daemon stream, or 0 for end of file at once. */
  readonly stdin: number
  readonly stdout: number
  readonly stderr: number
  readonly pty?: { readonly columns: number; readonly rows: number }
  readonly timeoutMs?: number
  readonly key?: string
  /** False: forgotten once it exited and the client sent `release` (what `run` does). True: kept for attach. */
  readonly keep: boolean
  readonly onDetachedOverflow?: 'drop' | 'block'
}
/** When `key` names a process that exists already, `existing` is true and its output follows from offset 0 as for attach. */
export interface SpawnResponse {
  readonly processId: string
  readonly pid: number
  readonly existing?: boolean
}
/** The same response as spawn; data and exit follow. Streams 0 are not replayed. */
export interface AttachRequest {
  readonly op: 'attach'
  readonly processId: string
  readonly stdin: number
  readonly stdout: number
  readonly stderr: number
  readonly fromStdout: number | 'kept'
  readonly fromStderr: number | 'kept'
}
export interface AttachResponse extends SpawnResponse {
  /** Where the replay begins: what was asked for, or for `kept` what there is. */
  readonly fromStdout: number
  readonly fromStderr: number
  readonly argv: readonly string[]
  readonly pty: boolean
}
/**
 * Sent once the process has exited and its output is complete (a background child that holds the pipes open does not
 * delay it). The final offsets tell the client when it has read everything; no `end` frames are sent for outputs.
 */
export interface ExitEvent {
  readonly exitCode: number
  readonly signal: string | null
  readonly timedOut: boolean
  readonly oomKilled: boolean
  readonly durationMs: number
  readonly stdoutBytes: number
  readonly stderrBytes: number
}
/** To the process's group. */
export interface SignalRequest {
  readonly op: 'signal'
  readonly processId: string
  readonly signal: string
}
/** Responds `{}` when nothing of the tree is left. `reason` decides what the exit event reports. */
export interface KillRequest {
  readonly op: 'kill'
  readonly processId: string
  readonly reason: 'kill' | 'timeout' | 'cancel'
}
export interface ResizeRequest {
  readonly op: 'resize'
  readonly processId: string
  readonly columns: number
  readonly rows: number
}
/** Responds ProcessRecord[]. */
export interface ProcessesRequest {
  readonly op: 'processes'
}
export interface ProcessRecord {
  readonly processId: string
  readonly pid: number
  readonly argv: readonly string[]
  readonly startedAtMs: number
  readonly exit?: ExitEvent
}
/** Notification: the client has all of a process it did not want kept. */
export interface ReleaseNotification {
  readonly op: 'release'
  readonly processId: string
}
/** Notification: this client no longer follows the process of that spawn or attach request; it runs on as detached. */
export interface UnfollowNotification {
  readonly op: 'unfollow'
  readonly request: number
}
/** Notification: give up that files or connect request; its response is an error `cancelled`. */
export interface CancelNotification {
  readonly op: 'cancel'
  readonly request: number
}

export interface WireFileInfo {
  readonly path: string
  readonly type: 'file' | 'directory' | 'symlink' | 'other'
  readonly size: number
  readonly mode: number
  readonly mtimeMs: number
  readonly uid: number
  readonly gid: number
  readonly target?: string
}
/**
 * All file work runs as the sandbox's user in a process of its own. `input` is a client → daemon stream, `output` the
 * other way (closed by an `end` frame); the response comes when the work is done (for outputs: after the `end`).
 *
 * - stat: WireFileInfo (a link is not followed)
 * - list: { entries: WireFileInfo[], total, unreadable }; entries sorted by path, relative to the directory, at most
 *   maxEntries. With an `output` the entries go there, each a line of JSON: [path, 'f' | 'd' | 'l' | 'o', size, mode,
 *   mtimeMs, uid, gid, target?]
 * - read: bytes on `output`; responds { size }. A directory is `is-a-directory`.
 * - write: bytes on `input`, atomic replace with fsync; responds { size }. Parents are made.
 * - remove, mkdir: {}
 * - pack: a tar of `path` on `output` (names relative to it; a single file is one entry with its base name; `exclude` holds
 *   relative prefixes, `only` the exact paths); responds { files, bytes, isDirectory }
 * - unpack: a tar from `input` into the directory `path` (made when missing), each file renamed into place (in a new directory made there at once), links never
 *   followed, nothing written outside; with `asFile` the archive's one entry becomes the file `path`. Responds { files, bytes }
 * - archive: as pack, in `format`, with caps; responds { entries, bytes, sha256 }
 */
export type FilesRequest = {
  readonly op: 'files'
  readonly path: string
  /** Name of a slot: with its user's rights, and relative to its home. */
  readonly slot?: string
  readonly input: number
  readonly output: number
} & (
  | { readonly action: 'stat' }
  | { readonly action: 'list'; readonly recursive: boolean; readonly maxEntries: number }
  | { readonly action: 'read'; readonly offset: number; readonly length: number | null }
  | { readonly action: 'write'; readonly mode: number | null }
  | { readonly action: 'remove'; readonly recursive: boolean; readonly force: boolean }
  | { readonly action: 'mkdir'; readonly mode: number | null }
  | { readonly action: 'pack'; readonly exclude: readonly string[]; readonly only?: readonly string[] }
  | { readonly action: 'unpack'; readonly asFile: boolean; readonly sync: boolean }
  | {
      readonly action: 'archive'
      readonly format: 'tar.gz' | 'tar' | 'zip'
      readonly maxBytes: number
      readonly maxEntries: number
    }
)
/**
 * TCP to a port inside, or a unix socket at an absolute path. Responds {} once connected; then both streams carry bytes,
 * `end` is a half-close, `reset` breaks it. A path that cannot be connected to: `connection-lost` with `data.errno`.
 */
export type ConnectRequest = ({ readonly port: number } | { readonly path: string }) & {
  readonly op: 'connect'
  readonly input: number
  readonly output: number
}
/**
 * - create: WireSlot; list: WireSlot[]; remove: {}
 * - reset: { isClean, left: { kind, what }[], killedProcesses, durationMs }; scan: { left, total, durationMs }
 * - batch: one record per command on `output`, in the order they end, closed by an `end` frame; then responds {}. A record is
 *   big-endian: u32 index, u8 kind, u8 flags (1 timed out, 2 killed for memory, 4 truncated), u16 exit code, f64
 *   milliseconds, u32 bytes of stdout, u32 of stderr, u8 of the signal's name; then that name, stdout and stderr. Kind 1: the
 *   command did not run, and stdout is a WireError. Cancelling kills what runs.
 */
export type SlotsRequest = { readonly op: 'slots' } & (
  | {
      readonly action: 'create'
      readonly name: string
      readonly uid?: number
      readonly uidRange?: { readonly first: number; readonly count: number }
      readonly pidsLimit: number
      readonly isolation: 'user' | 'namespace'
      readonly workspaceBase?: string
      readonly env?: Readonly<Record<string, string>>
      readonly template?: string
    }
  | { readonly action: 'list' }
  | { readonly action: 'reset'; readonly name: string; readonly strategy: 'clean' | 'template' | 'none' }
  | { readonly action: 'scan'; readonly name: string }
  | { readonly action: 'remove'; readonly name: string }
  | {
      readonly action: 'batch'
      readonly output: number
      readonly commands: readonly WireSlotCommand[]
      /** Of every command, below its own. */
      readonly env?: Readonly<Record<string, string>>
      readonly timeoutMs?: number
    }
)
export interface WireSlotCommand {
  readonly slot: string
  readonly argv: readonly string[]
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string>>
  /** Bytes, as argv has them. */
  readonly input?: string
  readonly timeoutMs?: number
  readonly maxOutputBytes: number
}
export interface WireSlot {
  readonly name: string
  readonly uid: number
  readonly gid: number
  readonly home: string
  readonly isolation: 'user' | 'namespace'
  readonly pidsLimit: number
  readonly state: 'ready' | 'resetting' | 'dirty'
  readonly template?: string
}
/** Responds StatsPayload. */
export interface StatsRequest {
  readonly op: 'stats'
}
export interface StatsPayload {
  readonly cpuSeconds: number
  readonly memoryBytes: number
  readonly memoryLimitBytes?: number
  readonly processes: number
  readonly diskUsedBytes: number
  readonly diskTotalBytes: number
  readonly daemonMemoryBytes: number
}
/** Responds { expiresAtMs }. Never earlier than before, never beyond the maximum. */
export interface ExtendRequest {
  readonly op: 'extend'
  readonly timeoutMs: number
}
/** Ends the sandbox: everything in it is killed. Responds {} just before the daemon ends. */
export interface ShutdownRequest {
  readonly op: 'shutdown'
}

export type Request =
  | SpawnRequest
  | AttachRequest
  | SignalRequest
  | KillRequest
  | ResizeRequest
  | ProcessesRequest
  | FilesRequest
  | ConnectRequest
  | SlotsRequest
  | StatsRequest
  | ExtendRequest
  | ShutdownRequest
export type Notification = ReleaseNotification | UnfollowNotification | CancelNotification
