import { AnyplaceError, unsupportedField } from '../../spec/index.ts'
import type { Engine, Host, Machine, OpenRequest, SandboxSpec } from '../../spec/index.ts'
import { checkNeeds } from '../sandbox-directory/check-needs.ts'
import { DirectoryHost, undoStart } from '../sandbox-directory/directory-host.ts'
import { keptSandboxes } from '../sandbox-directory/kept-sandboxes.ts'
import { requirePython } from '../sandbox-directory/python.ts'
import { reserve } from '../sandbox-directory/sandbox-store.ts'
import { checkNamespaces, placeArgv, readableProblem } from './check.ts'
import { gpuDevices } from './devices.ts'
import { givenMounts, INSIDE_ID, INSIDE_JOURNAL, INSIDE_NAME, insideWorkdir, needsOwnWorkdir, planOf } from './plan.ts'

const NAME = 'namespace'
const WHERE = 'The namespace engine'

/**
 * Linux namespaces, built by ourselves: a private root view, process, user, ipc and host name space, optionally no network,
 * every capability dropped. Needs nothing but Python and a kernel that allows it, as root and as an ordinary user.
 */
export function namespaceEngine(machine: Machine): Engine {
  return {
    name: NAME,
    open: (request) => open(machine, request),
    ...keptSandboxes(machine, NAME),
    check: (options) => checkNamespaces(machine, options),
  }
}

async function open(machine: Machine, request: OpenRequest): Promise<Host> {
  const { signal, spec } = request
  refuse(spec)
  const slots = spec.slots ?? 0
  const facts = await machine.facts({ signal })
  if (facts.platform !== 'linux')
    throw new AnyplaceError('engine-unavailable', `${WHERE} runs on Linux only.`, {
      hint: 'use on: "local/docker" or "local/podman"',
    })
  checkNeeds(spec, facts, WHERE)
  if (slots > 0 && facts.uid !== 0)
    throw unsupportedField(
      'slots',
      slots,
      WHERE,
      `an ordinary user can map one user id only, and ${machine.label} is reached as uid ${facts.uid}`,
      'run as root, or use on: "local/docker"',
    )
  const workdir = insideWorkdir(spec.workdir)
  const mounts = givenMounts(spec)
  const ownWorkdir = needsOwnWorkdir(workdir, mounts)
  const [python, devices] = await Promise.all([
    requirePython(machine, NAME, { signal }),
    gpuDevices(machine, facts, spec.gpu, { signal }),
  ])
  const record = await reserve(machine, request, {
    engine: NAME,
    python,
    facts,
    isolation: 'namespace',
    network: spec.network === false ? 'none' : 'host',
    workdir,
    directories: [
      ...(['run', 'workspace', 'journal', 'tmp', 'home', 'root'] as const),
      ...(ownWorkdir ? (['workdir'] as const) : []),
      ...(slots > 0 ? (['slots'] as const) : []),
    ],
    ownUser: facts.uid === 0,
    // Root's inside, and the one of the processes that end a slot's.
    moreUids: slots > 0 ? slots + 2 : 0,
    withLimits: true,
  })
  try {
    const plan = planOf(facts, record, spec, mounts, devices)
    const daemon = {
      env: spec.env ?? {},
      journalDirectory: INSIDE_JOURNAL,
      ownPidNamespace: true,
      ...(plan.slots === null
        ? {}
        : {
            user: `${INSIDE_ID}:${INSIDE_ID}`,
            slotUids: { first: plan.slots.first, count: plan.slots.count },
          }),
      wrap: await placeArgv(python, plan),
      idleTimeoutMs: request.lifetime.idleTimeoutMs,
    }
    return await DirectoryHost.start(machine, facts, record, daemon, { signal })
  } catch (error) {
    return await undoStart(machine, facts, record, request, await explained(machine, error))
  }
}

/** There is one user inside and no image; what else is asked for is enforced. */
function refuse(spec: SandboxSpec): void {
  if (spec.image !== undefined)
    throw unsupportedField(
      'image',
      spec.image,
      WHERE,
      'it shows the programs of the machine itself',
      'use on: "local/docker" or "local/podman"',
    )
  const { user } = spec
  const id = String(INSIDE_ID)
  if (user !== undefined && ![INSIDE_NAME, id].includes(user) && user !== `${id}:${id}`)
    throw unsupportedField(
      'user',
      user,
      WHERE,
      `there is one user inside, ${INSIDE_NAME} (${id}:${id})`,
      'leave out user, or use on: "local/docker"',
    )
}

/** A failure of the builder in its own words; where the kernel forbids it, with the setting. */
async function explained(machine: Machine, error: unknown): Promise<unknown> {
  if (!AnyplaceError.is(error, 'no-exec-daemon')) return error
  const problem = readableProblem(error.message)
  if (problem === undefined) return error
  if (/mount/.test(problem) && /target|cannot mount|cannot give/.test(problem))
    return new AnyplaceError('invalid-argument', `${WHERE} could not mount: ${problem}.`, {
      field: 'mounts',
      cause: error,
      hint: 'the source must exist, and no part of the target may be a link',
    })
  // The success that was remembered does not hold any more.
  const { stateDirectory } = await machine.facts()
  await machine.remove(`${stateDirectory}/namespace-check.json`).catch(() => undefined)
  const finding = await checkNamespaces(machine)
  return new AnyplaceError('engine-unavailable', `${WHERE} could not build the sandbox: ${problem}.`, {
    cause: error,
    hint: finding.hint,
  })
}
