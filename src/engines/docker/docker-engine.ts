import { AnyplaceError, DEFAULTS } from '../../spec/index.ts'
import type { CallOptions, Engine, Finding, Host, HostInfo, Machine, OpenRequest } from '../../spec/index.ts'
import { throwIfAborted, untilAborted } from '../../kit/deadline.ts'
import { TITLES, connectEngine } from './connection.ts'
import type { Connection } from './connection.ts'
import { ContainerHost, removeContainer } from './container-host.ts'
import { findContainers, hostInfoOf, inspectContainer } from './container-state.ts'
import type { EngineKind } from './find-sockets.ts'
import { LABEL, storedConfig } from './labels.ts'
import { openContainer } from './open-container.ts'
import type { SlotSecurity } from './slot-security.ts'

export interface DockerEngineOptions {
  readonly kind: EngineKind
  /** Path of the engine's socket. Default: found from the environment, the Docker context and the usual places. */
  readonly socket?: string | undefined
  /** What hosts say they come from. @default 'local' */
  readonly provider?: string | undefined
  /** Docker: for slots of level `namespace`; asked when a sandbox with slots is opened. @default they have level `user` */
  readonly slotSecurity?: (() => Promise<SlotSecurity>) | undefined
}

/** Containers inspected at once by `list`. */
const LIST_BATCH = 16

/**
 * Sandboxes as containers of Docker or Podman on a machine, through the Engine API.
 *
 * The engine is looked for on first use; every call fails with `engine-unavailable` and the sockets that were tried when
 * there is none.
 */
export function dockerEngine(machine: Machine, options: DockerEngineOptions): Engine {
  const { kind, provider = 'local', slotSecurity, socket } = options
  let connecting: Promise<Connection> | undefined

  function connect(callOptions: CallOptions = {}): Promise<Connection> {
    throwIfAborted(callOptions.signal)
    // Shared by calls that come at once, so one caller's signal must not end it for the others; it is bounded by itself.
    connecting ??= connectEngine(machine, kind, { socket }).catch((error: unknown) => {
      connecting = undefined
      throw error
    })
    return untilAborted(connecting, callOptions.signal)
  }

  /** After the engine went away, the next call looks for it again. */
  async function withEngine<T>(callOptions: CallOptions, work: (connection: Connection) => Promise<T>): Promise<T> {
    const connection = await connect(callOptions)
    try {
      return await work(connection)
    } catch (error) {
      if (AnyplaceError.is(error, 'engine-unavailable')) connecting = undefined
      throw error
    }
  }

  return {
    name: kind,

    open(request: OpenRequest): Promise<Host> {
      return withEngine(request, (connection) =>
        openContainer(machine, connection, request, { provider, slotSecurity }),
      )
    },

    attach(nameOrId: string, callOptions: CallOptions = {}): Promise<Host | undefined> {
      return withEngine(callOptions, async (connection) => {
        const [byId, byName] = await Promise.all([
          findContainers(connection, `${LABEL.id}=${nameOrId}`, callOptions),
          findContainers(connection, `${LABEL.name}=${nameOrId}`, callOptions),
        ])
        const found = [...byId, ...byName].find(({ State }) => State === 'running')
        if (found === undefined) return undefined
        const { Id: containerId, Labels: labels } = found
        return new ContainerHost({
          connection,
          containerId,
          id: labels[LABEL.id] ?? '',
          name: labels[LABEL.name] ?? '',
          provider,
          config: storedConfig(labels),
        })
      })
    },

    async *list(callOptions: CallOptions = {}): AsyncIterable<HostInfo> {
      const connection = await connect(callOptions)
      const found = await withEngine(callOptions, () => findContainers(connection, LABEL.id, callOptions))
      for (let at = 0; at < found.length; at += LIST_BATCH) {
        const batch = found.slice(at, at + LIST_BATCH)
        const states = await Promise.all(batch.map(({ Id }) => inspectContainer(connection, Id, callOptions)))
        for (const state of states) {
          // Removed since.
          if (state !== undefined) yield hostInfoOf(state, connection, provider)
        }
      }
    },

    remove(id: string, callOptions: CallOptions = {}): Promise<void> {
      return withEngine(callOptions, async (connection) => {
        const found = await findContainers(connection, `${LABEL.id}=${id}`, callOptions)
        await Promise.all(found.map(({ Id }) => removeContainer(connection, Id, callOptions)))
      })
    },

    async check(callOptions: CallOptions = {}): Promise<Finding> {
      connecting = undefined // what answered a while ago may have ended since
      try {
        const { info, isRootless, socket: at, version } = await connect(callOptions)
        const rootless = isRootless ? ', rootless' : ''
        const message = `${TITLES[kind]} ${version} at ${at.path} (${at.source}${rootless}), default image ${DEFAULTS.image}`
        const lacking = [
          ...(info.MemoryLimit ? [] : ['memory']),
          ...(info.CpuCfsQuota ? [] : ['cpu']),
          ...(info.PidsLimit ? [] : ['pids']),
        ]
        if (lacking.length === 0) return { subject: kind, status: 'ok', message }
        return {
          subject: kind,
          status: 'warning',
          message: `${message}; it cannot enforce limits of ${lacking.join(', ')}`,
          hint: 'Let systemd delegate these controllers to the user, or use the engine as root',
        }
      } catch (error) {
        if (!AnyplaceError.is(error) || error.code === 'cancelled') throw error
        return { subject: kind, status: 'unavailable', message: error.message, hint: error.hint }
      }
    },
  }
}
