import { setTimeout as delay } from 'node:timers/promises'
import { AnyplaceError, DEFAULTS } from '../../spec/index.ts'
import type { CallOptions, Channel, Host, HostInfo } from '../../spec/index.ts'
import { bootstrap } from '../../execd/bootstrap.ts'
import type { DaemonConfig } from '../../execd/bootstrap.ts'
import { throwIfAborted } from '../../kit/deadline.ts'
import { EngineApiError } from './engine-api.ts'
import { TITLES } from './connection.ts'
import type { Connection } from './connection.ts'
import { hostInfoOf, inspectContainer, sandboxGone } from './container-state.ts'
import type { ContainerState } from './container-state.ts'
import { execChannel } from './exec-channel.ts'
import type { ExecOptions } from './exec-channel.ts'
import type { StoredConfig } from './labels.ts'
import { RUN_DIRECTORY } from './supervisor.ts'

export interface ContainerHostParts {
  readonly connection: Connection
  readonly containerId: string
  readonly id: string
  readonly name: string
  readonly provider: string
  readonly config: StoredConfig
}

/** The channel that came with the start, or why there is none. */
export type FirstChannel = { readonly channel: Channel } | { readonly error: AnyplaceError }

/** On the container's disk, so that kept output does not count as the user's memory. */
const JOURNAL_DIRECTORY = '/var/lib/anyplace/journal'
const REMOVAL_WAIT_MS = 30_000
/** While a container ends, its engine calls it running for a moment and refuses processes in many words. */
const ENDING_MS = 1500
/** Without the program it ends with 127: the engines tell a missing program in text on stdout. */
const START = `command -v "$1" >/dev/null 2>&1 || exit 127
exec "$@"`

/** One container as a place for a sandbox. */
export class ContainerHost implements Host {
  readonly id: string
  readonly name: string
  readonly provider: string
  readonly #parts: ContainerHostParts
  /** For the first `connect`. */
  #first: FirstChannel | undefined

  constructor(parts: ContainerHostParts, first?: FirstChannel) {
    this.#first = first
    // One that has ended unused is of no use: then a new one tells what became of the container.
    if (first !== undefined && 'channel' in first) {
      const forget = (): void => {
        if (this.#first === first) this.#first = undefined
      }
      first.channel.exit.then(forget, forget)
    }
    this.id = parts.id
    this.name = parts.name
    this.provider = parts.provider
    this.#parts = parts
  }

  async connect(options: CallOptions = {}): Promise<Channel> {
    const first = this.#first
    this.#first = undefined
    if (first !== undefined) {
      if ('error' in first) throw first.error
      return first.channel
    }
    const { config, connection, containerId, id } = this.#parts
    return this.#whileThere(async () => {
      const channel = await bootstrap(
        (argv, { signal }) =>
          execChannel(connection.api, containerId, ['/bin/sh', '-c', START, 'anyplace', ...argv], {
            cwd: '/',
            user: '0:0',
            signal,
          }),
        daemonConfig(id, config),
        { start: true, signal: options.signal },
      )
      await refuseEngineText(channel)
      return channel
    })
  }

  channel(argv: readonly string[], options: ExecOptions = {}): Promise<Channel> {
    const { config, connection, containerId } = this.#parts
    const env = { ...config.env, ...options.env }
    const user = options.user ?? config.user ?? '0:0'
    return this.#whileThere(() =>
      execChannel(connection.api, containerId, argv, { ...options, cwd: options.cwd ?? '/', env, user }),
    )
  }

  async info(options: CallOptions = {}): Promise<HostInfo> {
    const { connection, containerId, provider } = this.#parts
    const state = await inspectContainer(connection, containerId, options)
    if (state === undefined) throw sandboxGone(this.name, undefined, this.#parts.config.expiresAtMs)
    return hostInfoOf(state, connection, provider)
  }

  async close(options: CallOptions = {}): Promise<void> {
    const { connection, containerId } = this.#parts
    const first = this.#first
    this.#first = undefined
    if (first !== undefined && 'channel' in first) await first.channel.close()
    await removeContainer(connection, containerId, options)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** Tells a container that has ended from an engine in trouble. */
  async #whileThere(work: () => Promise<Channel>): Promise<Channel> {
    try {
      return await work()
    } catch (error) {
      const { connection, containerId } = this.#parts
      if (AnyplaceError.is(error, 'cancelled') || AnyplaceError.is(error, 'timeout')) throw error
      if (AnyplaceError.is(error, 'invalid-argument') || AnyplaceError.is(error, 'engine-unavailable')) throw error
      const ended = await hasEnded(connection, containerId, error instanceof EngineApiError ? ENDING_MS : 0)
      if (ended !== undefined) throw sandboxGone(this.name, ended.state, this.#parts.config.expiresAtMs)
      if (!(error instanceof EngineApiError)) throw error
      throw new AnyplaceError(
        'engine-unavailable',
        `${TITLES[connection.kind]} could not start a process in sandbox ${JSON.stringify(this.name)}: ${error.message}.`,
        { cause: error },
      )
    }
  }
}

export function daemonConfig(id: string, config: StoredConfig): DaemonConfig {
  const { env, expiresAtMs, home, idleTimeoutMs, maxExpiresAtMs, slotNamespaces, user, workdir } = config
  return {
    sandboxId: id,
    runDirectory: RUN_DIRECTORY,
    workdir,
    user,
    env,
    home,
    inheritEnv: true,
    expiresAtMs,
    maxExpiresAtMs,
    idleTimeoutMs,
    journalBytes: DEFAULTS.journalBytes,
    journalDirectory: JOURNAL_DIRECTORY,
    supervisor: 'external',
    ownPidNamespace: true,
    slotNamespaces,
  }
}

/** Looks for so long whether the container has ended. Undefined: it runs, or the engine does not say. */
async function hasEnded(
  connection: Connection,
  containerId: string,
  forMs: number,
): Promise<{ readonly state: ContainerState | undefined } | undefined> {
  const deadline = Date.now() + forMs
  for (;;) {
    try {
      const state = await inspectContainer(connection, containerId)
      if (!state?.State.Running) return { state }
    } catch {
      return undefined
    }
    if (Date.now() >= deadline) return undefined
    await delay(50)
  }
}

/** Docker tells on stdout why a process could not be started in a container that is just ending. */
async function refuseEngineText(channel: Channel): Promise<void> {
  const first = channel.stdout.read() as Buffer | null
  if (first === null) return
  if (!first.subarray(0, 11).equals(Buffer.from('OCI runtime'))) {
    channel.stdout.unshift(first)
    return
  }
  await channel.close()
  throw new EngineApiError(409, first.toString().trim())
}

/**
 * Removes a container and everything made for it, running or not. Idempotent; comes back when it is gone.
 *
 * @throws AnyplaceError `timeout` when the engine does not get it done
 */
export async function removeContainer(
  connection: Connection,
  containerId: string,
  options: CallOptions = {},
): Promise<void> {
  const deadline = Date.now() + REMOVAL_WAIT_MS
  for (let pauseMs = 20; ; pauseMs = Math.min(pauseMs * 2, 500)) {
    throwIfAborted(options.signal)
    try {
      await connection.api.json('DELETE', `/containers/${containerId}`, {
        query: { force: 'true', v: 'true' },
        silenceMs: REMOVAL_WAIT_MS,
      })
      break
    } catch (error) {
      if (!(error instanceof EngineApiError)) throw error
      if (error.statusCode === 404) break
      // Somebody else is removing it (409), or the engine cannot just now (500): look again until it is gone.
      if (Date.now() > deadline) {
        throw new AnyplaceError(
          'timeout',
          `${TITLES[connection.kind]} did not remove container ${containerId.slice(0, 12)}: ${error.message}.`,
          {
            cause: error,
          },
        )
      }
    }
    await delay(pauseMs)
  }
}
