import { setTimeout as delay } from 'node:timers/promises'
import { AnyplaceError, DEFAULTS, unsupportedField } from '../../spec/index.ts'
import type { Host, Machine, OpenRequest } from '../../spec/index.ts'
import { throwIfAborted } from '../../kit/deadline.ts'
import { TITLES } from './connection.ts'
import type { Connection } from './connection.ts'
import { bootstrap } from '../../execd/bootstrap.ts'
import { ContainerHost, daemonConfig, removeContainer } from './container-host.ts'
import type { FirstChannel } from './container-host.ts'
import { containerRequest } from './container-request.ts'
import type { ContainerParts } from './container-request.ts'
import { findContainers, inspectContainer } from './container-state.ts'
import { EngineApiError } from './engine-api.ts'
import { attachChannel } from './exec-channel.ts'
import { gpuDevices } from './gpu-devices.ts'
import { hostDirectories } from './host-directories.ts'
import { parseImageName } from './image-name.ts'
import { LABEL } from './labels.ts'
import { limitsOf } from './limits.ts'
import { networkMode } from './network.ts'
import { pullImage } from './pull-image.ts'
import { slotHostConfig } from './slot-security.ts'
import type { SlotSecurity } from './slot-security.ts'
import { NO_PYTHON } from './supervisor.ts'

/** A create that was never answered may still happen at the engine; this long we look for what it left. */
const AFTERMATH_MS = 15_000

/**
 * Makes and starts the container of a sandbox. Whatever fails, at whatever moment, nothing of it is left.
 *
 * @throws AnyplaceError `unsupported`, `invalid-argument`, `image-not-found`, `conflict` when the name is taken, …
 */
export async function openContainer(
  machine: Machine,
  connection: Connection,
  request: OpenRequest,
  options: { readonly provider: string; readonly slotSecurity: (() => Promise<SlotSecurity>) | undefined },
): Promise<Host> {
  const { id, name, signal, spec } = request
  if (!/^[a-z0-9]{12,}$/.test(id)) throw invalid('id', id)
  if (!/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(name)) throw invalid('name', name)
  const imageName = parseImageName(spec.image ?? DEFAULTS.image)
  const limits = limitsOf(spec, connection, machine.label)
  const slots = await slotHostConfig(options.slotSecurity, spec, connection)
  const facts = await machine.facts({ signal })
  const gpus = gpuDevices(spec.gpu, facts, connection, machine.label)
  const mounts = await hostDirectories(machine, spec, connection, { signal })
  const [image, network] = await Promise.all([
    pullImage(machine, connection, imageName, { signal, onProgress: request.onProgress }),
    spec.network === false ? 'none' : networkMode(connection, machine.label),
  ])
  const interpreter = interpreterOf(machine, connection, { image, mounts })
  const parts = { facts, image, limits, gpus, mounts, network, slots }
  return startContainer(connection, request, parts, { provider: options.provider, interpreter })
}

/**
 * From here on nothing is cut off in the middle: each step is short, and the signal is looked at between them.
 *
 * The first connector is started by the container's own first process, with streams that are attached before the start:
 * that saves an exec, a third of the time that a sandbox takes to come up.
 */
async function startContainer(
  connection: Connection,
  request: OpenRequest,
  parts: ContainerParts,
  { provider, interpreter }: { readonly provider: string; readonly interpreter: string | undefined },
): Promise<Host> {
  const { id, name, signal } = request
  throwIfAborted(signal)
  const { config, body } = await containerRequest(request, connection, parts)
  let containerId = ''
  let started: Promise<unknown> | undefined
  try {
    let first: FirstChannel
    try {
      const channel = await bootstrap(
        async (argv) => {
          // pid 1 is such an interpreter already: it only needs the loader and the number of bytes
          containerId = await create(connection, name, await body(argv.slice(-2)))
          throwIfAborted(signal)
          const attached = await attachChannel(connection.api, containerId, exitCodeIn, { signal })
          // The daemon's source waits in the stream while the engine is still busy starting.
          started = connection.api.json('POST', `/containers/${containerId}/start`)
          started.catch(() => attached.close())
          return attached
        },
        daemonConfig(id, config),
        { start: true, signal, interpreter },
      )
      first = { channel }
    } catch (error) {
      await started // its failure is the cause
      if (!AnyplaceError.is(error, 'no-exec-daemon')) throw error
      first = { error }
    }
    throwIfAborted(signal)
    return new ContainerHost({ connection, containerId, id, name, provider, config }, first)
  } catch (error) {
    await removeRest(connection, id, AnyplaceError.is(error, 'engine-unavailable'))
    throw error instanceof EngineApiError ? translate(error, connection, request) : error
  }
}

/**
 * What runs as `python3`, where the image alone decides it; see `BootstrapOptions`. Undefined with directories of the machine,
 * which may hold another, and on other machines, which may call anything by this image's id.
 */
export function interpreterOf(
  machine: Pick<Machine, 'isLocal'>,
  connection: Pick<Connection, 'socket'>,
  { image, mounts }: Pick<ContainerParts, 'image' | 'mounts'>,
): string | undefined {
  if (!machine.isLocal || mounts.length > 0) return undefined
  return `${connection.socket.path} ${image.id}`
}

/** A connector's exit code is not told over attached streams; that there is no Python is what matters. */
function exitCodeIn(stderr: string): number | undefined {
  return stderr.includes(NO_PYTHON) || stderr.includes('Python 3.9') ? 127 : undefined
}

/** Creates the container; the engine itself makes names unique. One that has ended does not hold its name. */
async function create(connection: Connection, name: string, body: object): Promise<string> {
  const containerName = `anyplace-${name}`
  for (let attempt = 0; ; attempt++) {
    try {
      const created = await connection.api.json('POST', '/containers/create', { query: { name: containerName }, body })
      return (created as { readonly Id: string }).Id
    } catch (error) {
      if (!(error instanceof EngineApiError) || !isNameTaken(error)) throw error
      const holder = await inspectContainer(connection, containerName)
      if (attempt >= 2) throw nameTaken(name, undefined)
      if (holder === undefined) continue
      const labels = holder.Config.Labels ?? {}
      const holderId = labels[LABEL.id]
      const isOver = ['exited', 'dead', 'stopped'].includes(holder.State.Status)
      const isStale = !holder.State.Running && new Date(labels[LABEL.expires] ?? Number.NaN).getTime() < Date.now()
      if (holderId === undefined || !(isOver || isStale)) throw nameTaken(name, holderId)
      await removeContainer(connection, holder.Id)
    }
  }
}

function isNameTaken(error: EngineApiError): boolean {
  // Podman before 5 answers 500.
  return error.statusCode === 409 || (error.statusCode === 500 && error.message.includes('already in use'))
}

function nameTaken(name: string, id: string | undefined): AnyplaceError {
  return new AnyplaceError('conflict', `A sandbox named ${JSON.stringify(name)} is already there.`, {
    field: 'name',
    hint: 'Attach to it, remove it, or take another name',
    ...(id === undefined ? {} : { data: { id } }),
  })
}

/** Removes what a failed open made. `ambiguous`: the engine may not have finished yet what we asked. */
async function removeRest(connection: Connection, id: string, ambiguous: boolean): Promise<void> {
  const deadline = Date.now() + (ambiguous ? AFTERMATH_MS : 0)
  for (;;) {
    try {
      const found = await findContainers(connection, `${LABEL.id}=${id}`)
      await Promise.all(found.map(({ Id }) => removeContainer(connection, Id)))
      if (found.length > 0 || !ambiguous) return
    } catch {
      // The engine is away; the labels let gc find the rest.
    }
    if (Date.now() >= deadline) return
    await delay(250)
  }
}

/** The engine's own words into our table. */
function translate(error: EngineApiError, connection: Connection, request: OpenRequest): AnyplaceError {
  const { message, statusCode } = error
  const engine = TITLES[connection.kind]
  const image = JSON.stringify(request.spec.image ?? DEFAULTS.image)
  const what = `${engine} could not start sandbox ${JSON.stringify(request.name)}`
  if (/"?\/bin\/sh"?:? (stat|no such)|stat \/bin\/sh|executable file `?\/bin\/sh/.test(message)) {
    return unsupportedField(
      'image',
      request.spec.image,
      engine,
      'the image has no /bin/sh',
      'Use an image with a shell',
    )
  }
  if (/exec format error/.test(message)) {
    return new AnyplaceError('invalid-argument', `Image ${image} is for another processor than this machine's.`, {
      field: 'image',
      cause: error,
    })
  }
  if (/could not select device driver|nvidia-container|unresolvable CDI/i.test(message)) {
    const why = 'it has no runtime for GPUs'
    return unsupportedField('gpu', request.spec.gpu, engine, why, 'Install the NVIDIA container toolkit')
  }
  if (/no space left/i.test(message)) return new AnyplaceError('no-space', `${what}: ${message}.`, { cause: error })
  const code = statusCode === 400 ? 'invalid-argument' : statusCode === 404 ? 'not-found' : 'engine-unavailable'
  return new AnyplaceError(code, `${what}: ${message.replace(/\.$/, '')}.`, { cause: error })
}

function invalid(field: string, value: string): AnyplaceError {
  return new AnyplaceError('invalid-argument', `Not a sandbox ${field}: ${JSON.stringify(value)}.`, { field })
}
