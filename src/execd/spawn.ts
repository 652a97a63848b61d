import { AnyplaceError } from '../spec/index.ts'
import type { Argv, AttachOptions, SpawnOptions } from '../spec/index.ts'
import { abortError, throwIfAborted } from '../kit/deadline.ts'
import { assertNoNul } from '../kit/text-bytes.ts'
import type { DaemonConnection } from './connection.ts'
import { protocolError } from './frames.ts'
import { DaemonProcess } from './process-handle.ts'
import type { AttachRequest, SpawnRequest } from './protocol.ts'
import { checkAttached, checkStarted } from './wire-checks.ts'

const STARTED_RESPONSE_BYTES = 64 * 1024
/** The argv comes back with it. */
const ATTACHED_RESPONSE_BYTES = 8 * 1024 * 1024

/** What the session's `run` needs beyond the public options. */
export interface StartDetails {
  /** False: the daemon forgets it once it has ended and its output was received. */
  readonly keep: boolean
  /** Takes both outputs as they come; the bytes are only lent. Without it they wait for a reader. */
  readonly sink?: ((stream: 'stdout' | 'stderr', bytes: Uint8Array) => void) | undefined
  /** Written to stdin in the same breath as the request, then end of file. */
  readonly input?: Uint8Array | undefined
  /** In this slot, by its user and from its home. */
  readonly slot?: string | undefined
}

/** Starts a process. Resolves when it runs. */
export function spawnProcess(
  connection: DaemonConnection,
  argv: Argv,
  options: SpawnOptions,
  details: StartDetails,
): Promise<DaemonProcess> {
  checkSpawn(argv, options)
  const { signal, cwd, env, user, pty, timeoutMs, key, onDetachedOverflow } = options
  throwIfAborted(signal)
  const requestId = connection.nextId()
  const hasStdin = options.stdin === 'pipe' || pty !== undefined || details.input !== undefined
  const stdin = hasStdin ? connection.outbound(`stdin of ${name(argv)}`) : undefined
  const stdout = connection.inbound({ label: `stdout of ${name(argv)}`, started: false })
  const stderr = connection.inbound({ label: `stderr of ${name(argv)}`, started: false })
  const streams = { stdin: stdin?.id ?? 0, stdout: stdout.id, stderr: stderr.id }
  const request: SpawnRequest = {
    op: 'spawn',
    argv,
    ...streams,
    keep: details.keep,
    ...(cwd === undefined ? {} : { cwd }),
    ...(env === undefined ? {} : { env }),
    ...(user === undefined ? {} : { user }),
    ...(details.slot === undefined ? {} : { slot: details.slot }),
    ...(pty === undefined ? {} : { pty: { columns: pty.columns, rows: pty.rows } }),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    ...(key === undefined ? {} : { key }),
    ...(onDetachedOverflow === undefined ? {} : { onDetachedOverflow }),
  }
  if (details.sink !== undefined) {
    const { sink } = details
    stdout.pipeTo((bytes) => sink('stdout', bytes))
    stderr.pipeTo((bytes) => sink('stderr', bytes))
  }
  const letGo = (): void => connection.retire(requestId, ...Object.values(streams))
  return new Promise((resolve, reject) => {
    let isAborted = false
    const onAbort = (): void => {
      isAborted = true
      if (signal !== undefined) reject(abortError(signal))
    }
    try {
      connection.request(requestId, request, {
        op: 'spawn',
        maxBytes: STARTED_RESPONSE_BYTES,
        ok(value) {
          signal?.removeEventListener('abort', onAbort)
          const started = checkStarted(value, 'the response to spawn')
          const parts = {
            connection,
            requestId,
            started,
            argv,
            fromOffset: { stdout: 0, stderr: 0 },
            stdin,
            stdout,
            stderr,
            hasPty: pty !== undefined,
            hasSink: details.sink !== undefined,
          }
          // Given up too late: it runs, and nobody else knows of it. One that its key named already is another's.
          const process = new DaemonProcess({ ...parts, keep: details.keep && (!isAborted || started.existing) })
          if (!isAborted) return resolve(process)
          if (started.existing) void process.detach()
          else {
            stdout.discard()
            stderr.discard()
            process.killFor('cancel').catch(() => undefined)
          }
        },
        fail(error) {
          signal?.removeEventListener('abort', onAbort)
          letGo()
          stdin?.close(error)
          reject(error)
        },
      })
    } catch (error) {
      letGo()
      reject(error instanceof Error ? error : new Error(String(error)))
      return
    }
    if (stdin !== undefined && details.input !== undefined) {
      // A command that ends without reading its input is no error.
      stdin.write(details.input).then(
        () => stdin.end(),
        () => undefined,
      )
      if (stdin.sentOffset === details.input.byteLength) stdin.end()
    }
    signal?.addEventListener('abort', onAbort, { once: true })
  })
}

/** Follows a process that runs or has ended. */
export function attachProcess(
  connection: DaemonConnection,
  processId: string,
  options: AttachOptions,
): Promise<DaemonProcess> {
  const { signal } = options
  throwIfAborted(signal)
  if (typeof processId !== 'string' || processId === '') {
    throw new AnyplaceError(
      'invalid-argument',
      `A process id is a text such as "p1" (got ${JSON.stringify(processId)}).`,
      { field: 'processId' },
    )
  }
  const from = options.fromOffset
  const fromStdout = from === 'kept' ? from : checkOffset(from?.stdout, 'fromOffset.stdout')
  const fromStderr = from === 'kept' ? from : checkOffset(from?.stderr, 'fromOffset.stderr')
  const requestId = connection.nextId()
  const stdin = connection.outbound(`stdin of process ${processId}`)
  const stdout = connection.inbound({
    label: `stdout of process ${processId}`,
    started: false,
  })
  const stderr = connection.inbound({
    label: `stderr of process ${processId}`,
    started: false,
  })
  const streams = { stdin: stdin.id, stdout: stdout.id, stderr: stderr.id }
  const request: AttachRequest = { op: 'attach', processId, ...streams, fromStdout, fromStderr }
  const letGo = (): void => connection.retire(requestId, ...Object.values(streams))
  return new Promise((resolve, reject) => {
    let isAborted = false
    const onAbort = (): void => {
      isAborted = true
      if (signal !== undefined) reject(abortError(signal))
    }
    connection.request(requestId, request, {
      op: 'attach',
      maxBytes: ATTACHED_RESPONSE_BYTES,
      ok(value) {
        signal?.removeEventListener('abort', onAbort)
        const { argv, pty, fromOffset, ...started } = checkAttached(value)
        for (const [asked, given] of [
          [fromStdout, fromOffset.stdout],
          [fromStderr, fromOffset.stderr],
        ] as const) {
          if (asked !== 'kept' && asked !== given) {
            throw protocolError(`The daemon replays from byte ${given}, not from ${asked}.`)
          }
        }
        stdout.beginAt(fromOffset.stdout)
        stderr.beginAt(fromOffset.stderr)
        const process = new DaemonProcess({
          connection,
          requestId,
          started,
          argv,
          fromOffset,
          stdin,
          stdout,
          stderr,
          hasPty: pty,
          hasSink: false,
          keep: true,
        })
        if (isAborted) void process.detach()
        else resolve(process)
      },
      fail(error) {
        signal?.removeEventListener('abort', onAbort)
        letGo()
        stdin.close(error)
        reject(error)
      },
    })
    signal?.addEventListener('abort', onAbort, { once: true })
  })
}

function name(argv: Argv): string {
  return JSON.stringify((argv[0] ?? '').slice(0, 60))
}

function checkOffset(value: number | undefined, field: string): number {
  if (value === undefined) return 0
  if (Number.isSafeInteger(value) && value >= 0) return value
  throw new AnyplaceError('invalid-argument', `${field} must be a whole number of 0 or more (got ${value}).`, { field })
}

/** @throws AnyplaceError `invalid-argument` for what no process can be started with */
export function checkSpawn(argv: Argv, options: SpawnOptions): void {
  if (!Array.isArray(argv) || argv.length === 0 || argv[0] === '') {
    throw new AnyplaceError(
      'invalid-argument',
      `argv must be a list that begins with a program (got ${JSON.stringify(argv)?.slice(0, 200)}).`,
      {
        field: 'argv',
      },
    )
  }
  for (const [index, word] of argv.entries()) {
    if (typeof word !== 'string') {
      throw new AnyplaceError('invalid-argument', `argv[${index}] must be a text (got ${typeof word}).`, {
        field: `argv[${index}]`,
      })
    }
    assertNoNul(word, `argv[${index}]`)
  }
  for (const [key, value] of Object.entries(options.env ?? {})) {
    if (key === '' || key.includes('=')) {
      throw new AnyplaceError(
        'invalid-argument',
        `${JSON.stringify(key)} cannot be the name of an environment variable.`,
        { field: 'env' },
      )
    }
    assertNoNul(key, 'env')
    if (typeof value !== 'string') {
      throw new AnyplaceError('invalid-argument', `env.${key} must be a text (got ${typeof value}).`, {
        field: `env.${key}`,
      })
    }
    assertNoNul(value, `env.${key}`)
  }
  if (options.cwd !== undefined) assertNoNul(options.cwd, 'cwd')
  if (options.timeoutMs !== undefined && !(options.timeoutMs > 0 && options.timeoutMs < Infinity)) {
    throw new AnyplaceError('invalid-argument', `timeoutMs must be above 0 (got ${options.timeoutMs}).`, {
      field: 'timeoutMs',
    })
  }
  const { pty } = options
  if (pty !== undefined) checkTerminalSize(pty.columns, pty.rows)
}

/** @throws AnyplaceError `invalid-argument` unless both are whole numbers from 1 to 65535 */
export function checkTerminalSize(columns: number, rows: number): void {
  for (const [field, value] of [
    ['columns', columns],
    ['rows', rows],
  ] as const) {
    if (!Number.isInteger(value) || value < 1 || value > 65_535) {
      throw new AnyplaceError('invalid-argument', `${field} must be a whole number from 1 to 65535 (got ${value}).`, {
        field,
      })
    }
  }
}
