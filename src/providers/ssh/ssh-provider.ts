import { AnyplaceError } from '../../spec/index.ts'
import type { CallOptions, Engine, Finding, Host, HostInfo, Machine, Provider } from '../../spec/index.ts'
import { chooseEngine } from '../../engines/choose-engine.ts'
import { directEngine } from '../../engines/direct/index.ts'
import { dockerEngine } from '../../engines/docker/docker-engine.ts'
import type { SlotSecurity } from '../../engines/docker/slot-security.ts'
import { attachIn, listIn, removeIn, rethrow, skipUnreachable } from '../../engines/engine-set.ts'
import type { EngineSet } from '../../engines/engine-set.ts'
import { checkLimits, namespaceEngine } from '../../engines/namespace/index.ts'
import { untilAborted } from '../../kit/deadline.ts'
import { checkTarget } from './check-target.ts'
import { hostLink } from './host-link.ts'
import type { HostLink } from './host-link.ts'
import { plainEngine } from './plain-engine.ts'
import { remoteMachine } from './remote-machine.ts'
import { place } from './ssh-failure.ts'
import type { SshTarget } from './ssh-target.ts'
import { sweepExpired } from './sweep-expired.ts'

export interface SshProviderOptions {
  /** Only this engine. @default docker, podman, namespace: the first that works there */
  readonly engine?: 'direct' | 'namespace' | 'docker' | 'podman' | undefined
  /** Docker: for slots of level `namespace`. */
  readonly slotSecurity?: (() => Promise<SlotSecurity>) | undefined
}

const TYPE = 'ssh'

/**
 * Sandboxes on a host behind SSH, by whichever of its engines fits. Connects when it is first asked to do something, and
 * again after a link broke; links are shared by all that go to the same host as the same user with the same credential.
 *
 * @throws AnyplaceError `invalid-argument` for a target that ssh shall not see
 */
export function sshProvider(target: SshTarget, options: SshProviderOptions = {}): Provider {
  checkTarget(target)
  const { engine: only, slotSecurity } = options
  const linked = linker(target)
  const machine = remoteMachine(target.name || target.host, linked)
  const usual: readonly Engine[] = [
    dockerEngine(machine, { kind: 'docker', provider: TYPE, slotSecurity }),
    dockerEngine(machine, { kind: 'podman', provider: TYPE, slotSecurity }),
    namespaceEngine(machine),
    directEngine(machine),
  ]
  const plain = [plainEngine(linked)]
  /** Without Python there is no daemon, and no Machine that engines could use. */
  async function enginesOf(callOptions: CallOptions | undefined): Promise<readonly Engine[]> {
    const { facts } = await untilAborted(linked(), callOptions?.signal)
    return facts.python === undefined ? plain : usual
  }
  async function asked(callOptions: CallOptions | undefined): Promise<EngineSet> {
    const all = await enginesOf(callOptions)
    return only === undefined
      ? { engines: all, skip: skipUnreachable }
      : { engines: all.filter(({ name }) => name === only), skip: rethrow }
  }
  const on = target.name || TYPE

  async function durable(callOptions: CallOptions | undefined): Promise<boolean> {
    return (await untilAborted(linked(), callOptions?.signal)).facts.durable
  }

  return {
    type: TYPE,
    contractVersion: 1,
    async open(request) {
      const { signal } = request
      const facts = await machine.facts({ signal })
      const all = await enginesOf({ signal })
      const wanted = request.engine ?? only
      if (all === plain && wanted !== NAME_OF_PLAIN) throw needsPython(wanted, target)
      const { engine } = await chooseEngine(all, facts, wanted, { signal, on })
      const host = await engine.open(request).catch((error: unknown) => {
        throw ofNode(error, on)
      })
      return overSsh(host, durable)
    },
    async attach(nameOrId, callOptions) {
      // That the host cannot be reached is an error here, not "no such sandbox".
      const host = await attachIn(await asked(callOptions), nameOrId, callOptions)
      return host === undefined ? undefined : overSsh(host, durable)
    },
    async *list(callOptions) {
      const isDurable = await durable(callOptions)
      for await (const info of listIn(await asked(callOptions), callOptions)) yield infoOf(info, isDurable)
    },
    async remove(id, callOptions) {
      await removeIn(await asked(callOptions), id, callOptions)
    },
    check: (callOptions) => check(target, machine, linked, enginesOf, callOptions),
    machine: async () => machine,
  }
}

const NAME_OF_PLAIN = 'direct'

function needsPython(engine: string | undefined, target: SshTarget): AnyplaceError {
  const what = engine === undefined ? 'An isolating engine' : `The ${engine} engine`
  return new AnyplaceError('engine-unavailable', `${what} needs Python 3.9 or later on ${place(target, undefined)}.`, {
    hint: `install python3 there, or run without isolation: on: "${target.name || TYPE}/direct"`,
  })
}

/** The link for this target; the key is opened once to know it, and again for each connection. */
function linker(target: SshTarget): () => Promise<HostLink> {
  let current: Promise<HostLink> | undefined
  async function connect(): Promise<HostLink> {
    const link = await hostLink(target)
    void sweepExpired(
      remoteMachine(target.name, () => Promise.resolve(link)),
      link,
    )
    return link
  }
  return async () => {
    if (current !== undefined) {
      const link = await current
      if (link.isOpen) return link
    }
    const connecting = connect()
    current = connecting
    connecting.catch(() => {
      if (current === connecting) current = undefined
    })
    return connecting
  }
}

/** The engines name themselves as they are on this computer. */
function ofNode(error: unknown, on: string): unknown {
  if (!AnyplaceError.is(error) || error.hint?.includes('"local/') !== true) return error
  const { code, message, retryable, field, data } = error
  const hint = error.hint.replaceAll('"local/', `"${on}/`)
  return new AnyplaceError(code, message, { hint, retryable, field, data, cause: error })
}

function infoOf(info: HostInfo, isDurable: boolean): HostInfo {
  return { ...info, provider: TYPE, ...(isDurable ? {} : { durable: false }) }
}

/** The engines say where they run; a person is told how it is reached. */
function overSsh(host: Host, durable: (options?: CallOptions) => Promise<boolean>): Host {
  const channel = host.channel?.bind(host)
  return {
    id: host.id,
    name: host.name,
    provider: TYPE,
    connect: (options) => host.connect(options),
    ...(channel === undefined ? {} : { channel }),
    async info(options) {
      const [info, isDurable] = await Promise.all([host.info(options), durable(options)])
      return infoOf(info, isDurable)
    },
    close: (options) => host.close(options),
    [Symbol.asyncDispose]: () => host.close(),
  }
}

async function check(
  target: SshTarget,
  machine: Machine,
  linked: () => Promise<HostLink>,
  enginesOf: (options: CallOptions) => Promise<readonly Engine[]>,
  options: CallOptions = {},
): Promise<readonly Finding[]> {
  let link: HostLink
  try {
    link = await untilAborted(linked(), options.signal)
  } catch (error) {
    if (!AnyplaceError.is(error) || error.code === 'cancelled') throw error
    return [{ subject: TYPE, status: 'unavailable', message: error.message, hint: error.hint }]
  }
  const { facts } = link
  const where = place(target, link.master.resolved)
  const findings = await Promise.all([
    ...(await enginesOf(options)).map((engine) => engine.check(options)),
    ...(facts.python === undefined ? [] : [checkLimits(machine, options)]),
  ])
  const durable: Finding = facts.durable
    ? { subject: 'durable', status: 'ok', message: 'sandboxes live on when the last connection ends' }
    : {
        subject: 'durable',
        status: 'warning',
        message: 'durable: false; the host ends every process of a user when the last connection ends',
        hint: 'on the host: loginctl enable-linger, or KillUserProcesses=no in /etc/systemd/logind.conf',
      }
  return [
    { subject: TYPE, status: 'ok', message: `connected to ${where}; workspace ${facts.stateDirectory}` },
    ...findings,
    durable,
  ]
}
