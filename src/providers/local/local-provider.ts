import { AnyplaceError } from '../../spec/index.ts'
import type { CallOptions, Engine, Finding, Machine, Provider } from '../../spec/index.ts'
import { directEngine } from '../../engines/direct/index.ts'
import { dockerEngine } from '../../engines/docker/docker-engine.ts'
import type { SlotSecurity } from '../../engines/docker/slot-security.ts'
import { checkLimits, namespaceEngine } from '../../engines/namespace/index.ts'
import { attachIn, listIn, removeIn, rethrow, skipUnreachable } from '../../engines/engine-set.ts'
import type { EngineSet } from '../../engines/engine-set.ts'
import { chooseEngine } from '../../engines/choose-engine.ts'
import { localMachine } from './local-machine.ts'

export interface LocalProviderOptions {
  /** @default this computer */
  readonly machine?: Machine | undefined
  /** Absolute; where sandboxes of `direct` and `namespace` keep their state. @default ANYPLACE_HOME, else ~/.anyplace */
  readonly stateDirectory?: string | undefined
  /** Only this engine: then one that cannot be reached is an error of every call, not one place fewer to look. */
  readonly engine?: string | undefined
  /** Replaced in tests. @default docker, podman, namespace, direct */
  readonly engines?: ((machine: Machine) => readonly Engine[]) | undefined
  /** Docker: for slots of level `namespace`. */
  readonly slotSecurity?: (() => Promise<SlotSecurity>) | undefined
}

/** Sandboxes on this computer, by whichever of its engines fits. Does nothing until it is asked to. */
export function localProvider(options: LocalProviderOptions = {}): Provider {
  const machine = withState(options.machine ?? localMachine(), options.stateDirectory)
  const { engine: only, slotSecurity } = options
  const engines = options.engines?.(machine) ?? allEngines(machine, slotSecurity)
  const asked: EngineSet =
    only === undefined
      ? { engines, skip: skipUnreachable }
      : { engines: engines.filter(({ name }) => name === only), skip: rethrow }
  return {
    type: 'local',
    contractVersion: 1,
    async open(request) {
      const facts = await machine.facts({ signal: request.signal })
      const { engine } = await chooseEngine(engines, facts, request.engine ?? only, { signal: request.signal })
      return engine.open(request)
    },
    attach: (nameOrId, callOptions) => attachIn(asked, nameOrId, callOptions),
    list: (callOptions) => listIn(asked, callOptions),
    remove: (id, callOptions) => removeIn(asked, id, callOptions),
    check: (callOptions) => check(machine, engines, callOptions),
    machine: async () => machine,
  }
}

function allEngines(machine: Machine, slotSecurity: LocalProviderOptions['slotSecurity']): readonly Engine[] {
  return [
    dockerEngine(machine, { kind: 'docker', slotSecurity }),
    dockerEngine(machine, { kind: 'podman', slotSecurity }),
    namespaceEngine(machine),
    directEngine(machine),
  ]
}

function withState(machine: Machine, stateDirectory: string | undefined): Machine {
  if (stateDirectory === undefined) return machine
  return { ...machine, facts: async (options) => ({ ...(await machine.facts(options)), stateDirectory }) }
}

async function check(
  machine: Machine,
  engines: readonly Engine[],
  options: CallOptions = {},
): Promise<readonly Finding[]> {
  const [facts, findings, limits] = await Promise.all([
    machine.facts(options),
    Promise.all(engines.map((engine) => engine.check(options))),
    checkLimits(machine, options),
  ])
  const known = engines.map((engine, index): Engine => {
    const finding = findings[index]
    return finding === undefined ? engine : { ...engine, name: engine.name, check: async () => finding }
  })
  return [
    await chosen(known, facts, options),
    ...findings.map((finding) => whyNot(finding, facts.containerSigns)),
    limits,
  ]
}

async function chosen(
  engines: readonly Engine[],
  facts: Awaited<ReturnType<Machine['facts']>>,
  options: CallOptions,
): Promise<Finding> {
  try {
    const { engine, reason } = await chooseEngine(engines, facts, undefined, options)
    return { subject: 'engine', status: 'ok', message: `on: "local" uses ${engine.name}, because ${reason}` }
  } catch (error) {
    if (!AnyplaceError.is(error, 'engine-unavailable')) throw error
    return { subject: 'engine', status: 'unavailable', message: error.message, hint: error.hint }
  }
}

/** `direct` works nearly everywhere and is still not chosen outside a container: say so. */
function whyNot(finding: Finding, containerSigns: readonly string[]): Finding {
  if (finding.subject !== 'direct' || finding.status !== 'ok' || containerSigns.length > 0) return finding
  return { ...finding, message: `${finding.message}; used only when asked for: on: "local/direct"` }
}
