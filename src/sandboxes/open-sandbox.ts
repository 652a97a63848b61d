import { setTimeout as sleep } from 'node:timers/promises'
import { AnyplaceError, unsupportedField } from '../spec/index.ts'
import type { CallOptions, Host, OpenRequest, Provider, SandboxSpec, Session, SessionPowers } from '../spec/index.ts'
import { throwIfAborted } from '../kit/deadline.ts'
import { newId, newName } from '../kit/ids.ts'
import { checkOptions, lifetimeOf } from './check-options.ts'
import { Link } from './link.ts'
import { SPEC_FIELDS } from './open-options.ts'
import type { SandboxOptions } from './open-options.ts'
import type { SessionOpener } from './open-session.ts'
import { thisProcess } from './owner.ts'
import { Redactor } from './redactor.ts'
import { Sandbox } from './sandbox.ts'
import { changedFields, specDigest } from './spec-digest.ts'

/** Waits while another client that was first with the name brings its sandbox up: 30 s altogether. */
const RACE_DELAYS_MS: readonly number[] = [20, 50, 100, 200, 400, ...Array.from({ length: 58 }, () => 500)]
const NAME_ATTEMPTS = 5

export interface OpenSandboxContext {
  readonly provider: Provider
  /** Asked for by `on: 'PROVIDER/ENGINE'`. */
  readonly engine?: string | undefined
  /** Replaced in tests. */
  readonly openSession?: SessionOpener | undefined
}

/**
 * Opens a sandbox, or gives the running one of that name when its spec is the same. Nothing is left behind when it fails.
 *
 * @throws AnyplaceError `invalid-argument` with all faults, `unsupported` for what cannot be enforced, `conflict` when the
 *   name runs with another spec, `engine-unavailable`, `image-not-found`, `cancelled`
 */
export async function openSandbox(context: OpenSandboxContext, options: SandboxOptions = {}): Promise<Sandbox> {
  checkOptions(options)
  const redactor = new Redactor(options.secrets ?? {})
  try {
    throwIfAborted(options.signal)
    const request = await requestOf(context, options)
    return options.name === undefined
      ? await openUnnamed(context, options, request)
      : await openNamed(context, options, { ...request, name: options.name })
  } catch (error) {
    throw redactor.error(error)
  }
}

async function requestOf(context: OpenSandboxContext, options: SandboxOptions): Promise<OpenRequest> {
  const given = SPEC_FIELDS.filter((field) => options[field] !== undefined).map((field) => [field, options[field]])
  const spec = Object.fromEntries(given) as SandboxSpec
  const belongsToUs = options.name === undefined && options.detached !== true
  return {
    spec,
    lifetime: lifetimeOf(options),
    id: newId(),
    name: newName(),
    labels: { ...options.labels },
    owner: belongsToUs ? await thisProcess() : undefined,
    specDigest: specDigest(spec),
    engine: context.engine,
    onProgress: options.onProgress,
    signal: options.signal,
  }
}

async function openUnnamed(
  context: OpenSandboxContext,
  options: SandboxOptions,
  request: OpenRequest,
): Promise<Sandbox> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await created(context, options, await context.provider.open(request))
    } catch (error) {
      // Our own invention met a name that is taken.
      if (attempt === NAME_ATTEMPTS || !AnyplaceError.is(error, 'conflict')) throw error
      request = { ...request, id: newId(), name: newName() }
    }
  }
}

async function openNamed(context: OpenSandboxContext, options: SandboxOptions, request: OpenRequest): Promise<Sandbox> {
  for (const delayMs of [...RACE_DELAYS_MS, undefined]) {
    const found = await context.provider.attach(request.name, callOptions(options))
    if (found !== undefined) return adopted(context, options, request, found)
    try {
      return await created(context, options, await context.provider.open(request))
    } catch (error) {
      if (delayMs === undefined || !AnyplaceError.is(error, 'conflict')) throw error
      // Somebody else is opening the same name: wait for theirs, or take over when they give up.
      await sleep(delayMs)
      throwIfAborted(options.signal)
      request = { ...request, id: newId() }
    }
  }
  throw new AnyplaceError('internal', `No end of opening ${JSON.stringify(request.name)}.`)
}

async function created(context: OpenSandboxContext, options: SandboxOptions, host: Host): Promise<Sandbox> {
  try {
    const endsOnDispose = options.name === undefined && options.detached !== true
    return await connectSandbox(host, { ...options, endsOnDispose, openSession: context.openSession })
  } catch (error) {
    await host.close().catch(() => undefined)
    throw error
  }
}

async function adopted(
  context: OpenSandboxContext,
  options: SandboxOptions,
  request: OpenRequest,
  host: Host,
): Promise<Sandbox> {
  const info = await host.info(callOptions(options))
  const changed = changedFields(request.spec, info.specDigest)
  const differences = changed === undefined ? ['spec'] : [...changed]
  if (request.engine !== undefined && info.engine !== undefined && request.engine !== info.engine) {
    differences.push('engine')
  }
  if (differences.length > 0) {
    throw new AnyplaceError(
      'conflict',
      `A sandbox named ${JSON.stringify(request.name)} runs with another spec: ${differences.join(', ')} ${differences.length === 1 ? 'differs' : 'differ'}.`,
      {
        field: differences[0],
        hint: 'open it with the same spec, attach to it, remove it first, or take another name',
        data: { name: request.name, differs: differences.join(',') },
      },
    )
  }
  return connectSandbox(host, { ...options, endsOnDispose: false, openSession: context.openSession })
}

/**
 * A Sandbox on a host that exists. Closes its own connection when it fails, never the host.
 *
 * @throws AnyplaceError `unsupported` for `idleTimeoutMs` where nothing inside could keep it
 */
export async function connectSandbox(
  host: Host,
  options: CallOptions & {
    readonly secrets?: Readonly<Record<string, string>> | undefined
    readonly endsOnDispose: boolean
    readonly idleTimeoutMs?: number | undefined
    readonly slots?: number | undefined
    readonly openSession?: SessionOpener | undefined
  },
): Promise<Sandbox> {
  const link = new Link(host, options.openSession)
  try {
    const session = await link.session(callOptions(options))
    const { powers, workdir } = await session.info(callOptions(options))
    checkPowers(powers, options.idleTimeoutMs)
    checkSlots(session, options.slots)
    const { endsOnDispose } = options
    const hasSlots = session.slots !== undefined
    return new Sandbox({ link, workdir, hasSlots, secrets: { ...options.secrets }, endsOnDispose })
  } catch (error) {
    await link.close('could not be connected').catch(() => undefined)
    throw error
  }
}

/** What the engine could not know before the session was there: an image without Python has no exec daemon. */
function checkPowers(powers: SessionPowers, idleTimeoutMs: number | undefined): void {
  if (idleTimeoutMs === undefined || powers.idleTimeout) return
  throw unsupportedField(
    'idleTimeoutMs',
    idleTimeoutMs,
    'A sandbox without the exec daemon',
    'nothing in it sees that it is idle',
    'use an image with Python 3.9 or later, or give timeoutMs instead',
  )
}

function checkSlots(session: Session, slots: number | undefined): void {
  if (slots === undefined || slots === 0 || session.slots !== undefined) return
  throw unsupportedField(
    'slots',
    slots,
    'A sandbox whose exec daemon cannot switch users',
    'all its commands run as one user',
    'use an image with Python 3.9 or later on docker, or the namespace engine as root',
  )
}

function callOptions(options: CallOptions): CallOptions {
  return options.signal === undefined ? {} : { signal: options.signal }
}
