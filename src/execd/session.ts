import type { Duplex } from 'node:stream'
import { AnyplaceError } from '../spec/index.ts'
import type {
  Argv,
  AttachOptions,
  CallOptions,
  Channel,
  Files,
  Process,
  ProcessInfo,
  Session,
  SessionInfo,
  Slots,
  SpawnOptions,
  Stats,
} from '../spec/index.ts'
import { call } from './call.ts'
import type { DaemonConnection } from './connection.ts'
import { DaemonFiles } from './daemon-files.ts'
import { openConnection } from './open-connection.ts'
import type { ConnectionOptions } from './open-connection.ts'
import { MAX_CONTROL_BYTES } from './protocol.ts'
import { startTransient } from './run-process.ts'
import type { OutputSink, TransientProcess, TransientStarter } from './run-process.ts'
import { slotsOf } from './slots.ts'
import { attachProcess, spawnProcess } from './spawn.ts'
import { openTunnel } from './tunnel.ts'
import { asNumber, asObject, checkProcesses, checkStats, exitStatus } from './wire-checks.ts'

/** How a session is opened. */
export type DaemonSessionOptions = ConnectionOptions

/**
 * Opens a session over a channel that leads to an exec daemon. The channel belongs to the session, also when this fails.
 *
 * @throws AnyplaceError `protocol-error` when the far end is another version or no daemon of ours, `no-exec-daemon`,
 * `connection-lost`, `timeout`, `cancelled`
 */
export async function openDaemonSession(channel: Channel, options: DaemonSessionOptions = {}): Promise<Session> {
  return new DaemonSession(await openConnection(channel, options))
}

class DaemonSession implements Session, TransientStarter {
  readonly files: Files
  readonly slots: Slots | undefined
  readonly closed: Promise<Error | undefined>
  readonly #connection: DaemonConnection
  #expiresAtMs: number

  constructor(connection: DaemonConnection) {
    this.#connection = connection
    this.#expiresAtMs = connection.hello.expiresAtMs
    this.files = new DaemonFiles(connection)
    this.slots = slotsOf(connection)
    this.closed = connection.closed
  }

  async info(): Promise<SessionInfo> {
    const { hello, error } = this.#connection
    if (error !== undefined) throw error
    return {
      path: 'daemon',
      powers: { attach: true, pty: true, tunnels: true, stats: true, extend: true, idleTimeout: true, spawnKeys: true },
      killLevel: hello.killLevel,
      expiresAt: new Date(this.#expiresAtMs),
      workdir: hello.workdir,
      python: hello.python,
    }
  }

  async spawn(argv: Argv, options: SpawnOptions = {}): Promise<Process> {
    return await spawnProcess(this.#connection, argv, options, { keep: true })
  }

  async [startTransient](
    argv: Argv,
    options: SpawnOptions,
    sink: OutputSink,
    input: Uint8Array | undefined,
  ): Promise<TransientProcess> {
    const process = await spawnProcess(this.#connection, argv, options, { keep: false, sink, input })
    return {
      id: process.id,
      // A getter: a stream that nobody writes to is not made.
      get stdin() {
        return process.stdin
      },
      finished: async () => exitStatus(await process.finished()),
      cancel: () => process.killFor('cancel'),
    }
  }

  async attach(processId: string, options: AttachOptions = {}): Promise<Process> {
    return await attachProcess(this.#connection, processId, options)
  }

  async processes(options: CallOptions = {}): Promise<readonly ProcessInfo[]> {
    const records = await call(this.#connection, { op: 'processes' }, checkProcesses, {
      ...options,
      maxBytes: MAX_CONTROL_BYTES,
    })
    return records.map(({ processId, pid, argv, startedAtMs, exit }) => ({
      id: processId,
      pid,
      argv,
      state: exit === undefined ? 'running' : 'exited',
      startedAt: new Date(startedAtMs),
      ...(exit === undefined ? {} : { exit: exitStatus(exit) }),
    }))
  }

  async connect(port: number, options: CallOptions = {}): Promise<Duplex> {
    return await openTunnel(this.#connection, port, options)
  }

  async stats(options: CallOptions = {}): Promise<Stats> {
    return await call(this.#connection, { op: 'stats' }, checkStats, options)
  }

  async extend(timeoutMs: number, options: CallOptions = {}): Promise<Date> {
    if (!(timeoutMs > 0 && timeoutMs < Infinity)) {
      throw new AnyplaceError('invalid-argument', `timeoutMs must be above 0 (got ${timeoutMs}).`, {
        field: 'timeoutMs',
      })
    }
    const what = 'the response to extend'
    const check = (value: unknown): number => asNumber(asObject(value, what), 'expiresAtMs', what)
    this.#expiresAtMs = await call(this.#connection, { op: 'extend', timeoutMs }, check, options)
    return new Date(this.#expiresAtMs)
  }

  async close(): Promise<void> {
    await this.#connection.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}
