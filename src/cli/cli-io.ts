import type { Readable, Writable } from 'node:stream'

/** A stream that may be a terminal. */
export interface InputStream extends Readable {
  readonly isTTY?: boolean | undefined
  setRawMode?(raw: boolean): unknown
}

export interface OutputStream extends Writable {
  readonly isTTY?: boolean | undefined
  readonly columns?: number | undefined
  readonly rows?: number | undefined
}

/** Everything of the surrounding process that the command line touches, so that tests can run it in their own. */
export interface CliIo {
  readonly stdin: InputStream
  readonly stdout: OutputStream
  readonly stderr: OutputStream
  readonly env: Readonly<Record<string, string | undefined>>
  /** Absolute; local paths resolve against it. */
  readonly cwd: string
  /** Aborted by the first SIGINT, SIGTERM or SIGHUP, and when nobody reads stdout any more. */
  readonly signal: AbortSignal
}

/** Writes all of it and waits until the reader took it. Rejects when the reader is gone (`EPIPE`) . */
export async function writeAll(stream: Writable, data: string | Uint8Array): Promise<void> {
  if (data.length === 0) return
  await new Promise<void>((resolve, reject) => {
    stream.write(data, (error) => (error ? reject(error) : resolve()))
  })
}

/** True for the error of a pipe whose reader has gone. */
export function isBrokenPipe(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'EPIPE' || error.code === 'ERR_STREAM_DESTROYED')
}
