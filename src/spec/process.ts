import type { CallOptions } from './channel.ts'

/**
 * Program and arguments. They arrive byte for byte: text is sent as UTF-8, and a byte that is not UTF-8 is written as a lone
 * surrogate U+DC80..U+DCFF (Python's `surrogateescape`; see `bytesToText` and `textToBytes`). NUL is refused.
 */
export type Argv = readonly string[]

export interface SpawnOptions extends CallOptions {
  /** Relative to the sandbox's workdir. @default the workdir */
  readonly cwd?: string | undefined
  /** Added to the sandbox's environment. */
  readonly env?: Readonly<Record<string, string>> | undefined
  /** As in SandboxSpec.user. @default the sandbox's user */
  readonly user?: string | undefined
  /** `none`: the command reads end of file at once. `pipe`: written through `process.stdin`. @default 'none' */
  readonly stdin?: 'none' | 'pipe' | undefined
  /** The whole tree is killed at the place itself after this long, also when we are gone. None by default. */
  readonly timeoutMs?: number | undefined
  /** Runs it on a terminal of this size; stdout then carries both outputs and stdin is open. */
  readonly pty?: { readonly columns: number; readonly rows: number } | undefined
  /** The same key sent twice starts one process: the second call gets the first one's handle. */
  readonly key?: string | undefined
  /** What happens when nobody reads and the journal is full. @default 'drop' */
  readonly onDetachedOverflow?: 'drop' | 'block' | undefined
}

export interface ExitStatus {
  /** 0..255; 128 + signal when a signal ended it, 124 when the deadline did, 130 when a cancel did. */
  readonly exitCode: number
  /** `SIGKILL` … when a signal ended it. */
  readonly signal: string | null
  readonly timedOut: boolean
  /** The kernel's out-of-memory killer ended it. */
  readonly oomKilled: boolean
  readonly durationMs: number
}

export interface OutputLine {
  readonly stream: 'stdout' | 'stderr'
  /** Without its line feed. */
  readonly text: string
}

/** A process in a sandbox. It outlives its handle and its client. */
export interface Process extends AsyncDisposable {
  /** Unique in the sandbox; give it to `attach`. */
  readonly id: string
  /** As seen inside the sandbox. */
  readonly pid: number
  readonly argv: Argv
  /** Where the output of this handle begins: 0, or where `attach` began. */
  readonly fromOffset: { readonly stdout: number; readonly stderr: number }
  /** Bytes as they come. Reading slowly slows the process; each may be read once. */
  readonly stdout: ReadableStream<Uint8Array>
  readonly stderr: ReadableStream<Uint8Array>
  /** Present when stdin was asked for. Closing it is end of file. */
  readonly stdin?: WritableStream<Uint8Array> | undefined
  /** Both outputs as lines, in the order they arrived. Uses up stdout and stderr. */
  lines(): AsyncIterable<OutputLine>
  /** Resolves when the process ended, whatever the exit code. Output that nobody reads is dropped while waiting. */
  wait(options?: CallOptions): Promise<ExitStatus>
  /** Sends a signal (default SIGTERM) to the process's group. */
  signal(name?: string): Promise<void>
  /** Kills the whole tree and resolves when none of it is left. Idempotent. */
  kill(): Promise<void>
  /** Only with a pty. */
  resize(columns: number, rows: number): Promise<void>
  /** Lets go of the handle; the process runs on. `await using` does this. */
  detach(): Promise<void>
}

export interface AttachOptions extends CallOptions {
  /**
   * Replay from this byte of each stream; fails with `output-discarded` and `data.firstOffset` when it is gone. `kept`: from the
   * oldest that is still there, which the handle's `fromOffset` tells; the only sure way to reach a process that goes on
   * discarding. @default 0 for both
   */
  readonly fromOffset?: { readonly stdout?: number; readonly stderr?: number } | 'kept' | undefined
}

export interface RunOptions extends Omit<SpawnOptions, 'stdin' | 'pty' | 'onDetachedOverflow'> {
  /** Bytes or text for stdin, then end of file. */
  readonly input?: string | Uint8Array | AsyncIterable<Uint8Array> | undefined
  /** Reject with CommandError on a non-zero exit. @default false */
  readonly check?: boolean | undefined
  /** Kept output per stream. @default 10_485_760 */
  readonly maxOutputBytes?: number | undefined
  /** Which part is kept beyond that. @default 'tail' */
  readonly keep?: 'head' | 'tail' | 'both' | undefined
  /** Called with output as it arrives, before any cap. */
  readonly onOutput?: ((stream: 'stdout' | 'stderr', bytes: Uint8Array) => void) | undefined
}

export interface RunResult extends ExitStatus {
  /** UTF-8; broken bytes become U+FFFD. The exact bytes are in stdoutBytes. */
  readonly stdout: string
  readonly stderr: string
  readonly stdoutBytes: Uint8Array
  readonly stderrBytes: Uint8Array
  /** True when some output was left out because of maxOutputBytes. */
  readonly truncated: boolean
  readonly processId: string
}

export interface ProcessInfo {
  readonly id: string
  readonly pid: number
  readonly argv: Argv
  readonly state: 'running' | 'exited'
  readonly startedAt: Date
  readonly exit?: ExitStatus | undefined
}
