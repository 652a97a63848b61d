import { bootstrap } from '../../execd/bootstrap.ts'
import type { DaemonConfig } from '../../execd/bootstrap.ts'
import { daemonSocket, dialDaemon } from '../../execd/dial.ts'
import { AnyplaceError } from '../../spec/index.ts'
import type { CallOptions, Channel, Host, HostInfo, Machine, MachineFacts, OpenRequest } from '../../spec/index.ts'
import { DEFAULTS } from '../../spec/index.ts'
import { MACHINE_ENV } from './python.ts'
import type { SandboxRecord } from './record.ts'
import { findRecord, hostInfo, removeSandbox, sandboxDirectory } from './sandbox-store.ts'

/** How an engine's daemon is started, beside what the record tells. */
export interface DaemonStart {
  readonly env: Readonly<Record<string, string>>
  readonly journalDirectory: string
  readonly ownPidNamespace: boolean
  /** Whom commands run as, where the daemon is somebody else. */
  readonly user?: string | undefined
  readonly slotUids?: DaemonConfig['slotUids']
  readonly wrap?: readonly string[] | undefined
  readonly idleTimeoutMs?: number | undefined
  readonly atEnd?: readonly string[] | undefined
}

/** A sandbox that lives in a directory of the machine, with its own supervisor and exec daemon. */
export class DirectoryHost implements Host {
  readonly id: string
  readonly name: string
  readonly provider = 'local'
  readonly #machine: Machine
  readonly #facts: MachineFacts
  readonly #record: SandboxRecord
  /** The channel of the start itself, for the first `connect`. */
  #first: Channel | undefined
  #closing: Promise<void> | undefined

  constructor(machine: Machine, facts: MachineFacts, record: SandboxRecord, first?: Channel) {
    this.id = record.id
    this.name = record.name
    this.#machine = machine
    this.#facts = facts
    this.#record = record
    this.#first = first
  }

  /** Starts the daemon. @throws what the start said; the caller removes the sandbox then */
  static async start(
    machine: Machine,
    facts: MachineFacts,
    record: SandboxRecord,
    daemon: DaemonStart,
    options: CallOptions,
  ): Promise<DirectoryHost> {
    const config = configOf(facts, record, daemon)
    const { wrap } = daemon
    const channel = await bootstrap(connector(machine, record), config, {
      ...options,
      start: true,
      wrap,
      python: record.python,
      // What another machine calls by this name it alone knows.
      interpreter: machine.isLocal ? `local ${record.python}` : undefined,
    })
    return new DirectoryHost(machine, facts, record, channel)
  }

  async connect(options: CallOptions = {}): Promise<Channel> {
    const first = this.#first
    this.#first = undefined
    if (first === undefined && this.#closing !== undefined) throw this.#gone()
    // On another machine the channel of the start goes through that machine's own daemon.
    if (first !== undefined && this.#machine.isLocal) return first
    let isTaken = false
    try {
      const direct = await this.#dial(options)
      if (direct !== undefined) return direct
      if (first === undefined) return await this.#connectAgain(options)
      isTaken = true
      return first
    } finally {
      if (!isTaken) first?.close().catch(() => undefined)
    }
  }

  /** Through a connector, which takes a moment to start and tells why when it cannot. */
  async #connectAgain(options: CallOptions): Promise<Channel> {
    const config = configOf(this.#facts, this.#record, { env: {}, journalDirectory: '', ownPidNamespace: false })
    try {
      return await bootstrap(connector(this.#machine, this.#record), config, {
        ...options,
        start: false,
        python: this.#record.python,
      })
    } catch (error) {
      if (AnyplaceError.is(error, 'cancelled')) throw error
      const info = await this.#current(options).catch(() => {
        throw error // what cannot be asked has not ended as far as we know
      })
      if (info?.state !== 'running') throw this.#gone(info, error)
      throw error
    }
  }

  async info(options: CallOptions = {}): Promise<HostInfo> {
    const info = await this.#current(options)
    if (info === undefined) throw this.#gone()
    return info
  }

  close(options: CallOptions = {}): Promise<void> {
    this.#closing ??= this.#close(options).catch((error: unknown) => {
      this.#closing = undefined // it may be tried again
      throw error
    })
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** @throws what the signal says */
  async #dial(options: CallOptions): Promise<Channel | undefined> {
    const socket = daemonSocket(runDirectory(this.#facts, this.#record))
    if (socket === undefined) return undefined
    return dialDaemon((given) => this.#machine.connectDirectly(socket, given), options)
  }

  async #close(options: CallOptions): Promise<void> {
    const first = this.#first
    this.#first = undefined
    await first?.close()
    const remove = (): Promise<void> => removeSandbox(this.#machine, this.#facts.stateDirectory, this.#record, options)
    await remove().catch((error: unknown) => {
      if (!AnyplaceError.is(error, 'connection-lost')) throw error
      return remove() // over a new link; what is gone already is no error
    })
  }

  async #current(options: CallOptions): Promise<HostInfo | undefined> {
    const { engine, id } = this.#record
    const record = await findRecord(this.#machine, this.#facts.stateDirectory, engine, id, options)
    return record === undefined ? undefined : hostInfo(this.#machine, this.#facts, record, options)
  }

  #gone(info?: HostInfo, cause?: unknown): AnyplaceError {
    const why = info?.reason ?? 'it was removed or its lifetime ended'
    return new AnyplaceError('sandbox-gone', `Sandbox ${JSON.stringify(this.name)} has ended: ${why}.`, { cause })
  }
}

function connector(machine: Machine, record: SandboxRecord) {
  return ([, ...rest]: readonly string[], options: CallOptions): Promise<Channel> =>
    machine.run([record.python, ...rest], { ...options, env: MACHINE_ENV, cwd: '/' })
}

function runDirectory(facts: MachineFacts, record: SandboxRecord): string {
  return `${sandboxDirectory(facts.stateDirectory, record.id)}/run`
}

function configOf(facts: MachineFacts, record: SandboxRecord, daemon: DaemonStart): DaemonConfig {
  return {
    sandboxId: record.id,
    runDirectory: runDirectory(facts, record),
    workdir: record.workdir,
    user: daemon.user,
    slotUids: daemon.slotUids,
    // The mark by which what lost its sandbox is found again.
    env: { ...daemon.env, ANYPLACE_SANDBOX: record.id },
    inheritEnv: false,
    expiresAtMs: record.expiresAtMs,
    maxExpiresAtMs: record.maxExpiresAtMs,
    idleTimeoutMs: daemon.idleTimeoutMs,
    journalBytes: DEFAULTS.journalBytes,
    journalDirectory: daemon.journalDirectory || undefined,
    supervisor: 'self',
    ownPidNamespace: daemon.ownPidNamespace,
    atEnd: daemon.atEnd,
  }
}

/** Undoes a reservation whose start failed, and gives the failure on. */
export async function undoStart(
  machine: Machine,
  facts: MachineFacts,
  record: SandboxRecord,
  request: OpenRequest,
  error: unknown,
): Promise<never> {
  // Not with the request's signal: it may be the very reason.
  await removeSandbox(machine, facts.stateDirectory, record).catch(() => undefined)
  if (request.signal?.aborted && !AnyplaceError.is(error))
    throw new AnyplaceError('cancelled', `Opening sandbox ${JSON.stringify(request.name)} was cancelled.`, {
      cause: error,
    })
  throw error
}
