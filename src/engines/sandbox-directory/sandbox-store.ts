import { AnyplaceError, DEFAULTS, unsupportedField } from '../../spec/index.ts'
import type { CallOptions, HostInfo, Machine, MachineFacts, OpenRequest } from '../../spec/index.ts'
import { throwIfAborted } from '../../kit/deadline.ts'
import { CONTROL_GROUPS, runScript, script } from './python.ts'
import { parseRecord } from './record.ts'
import type { SandboxRecord } from './record.ts'

const STARTING_MS = 60_000
const ID = /^[a-z0-9]{12,64}$/
const NAME = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/

/** Where a sandbox of this id keeps everything. */
export function sandboxDirectory(stateDirectory: string, id: string): string {
  return `${stateDirectory}/sandboxes/${id}`
}

/** What an engine decides about a new sandbox; the rest of its record comes from the request. */
export interface Reservation {
  readonly engine: string
  readonly python: string
  readonly facts: MachineFacts
  readonly isolation: HostInfo['isolation']
  readonly network: HostInfo['network']
  readonly workdir: string
  /** Made in the sandbox's directory. */
  readonly directories: readonly ('run' | 'workspace' | 'workdir' | 'journal' | 'tmp' | 'home' | 'root' | 'slots')[]
  /** Give it an unprivileged uid of its own, the owner of its directories. */
  readonly ownUser: boolean
  /** Further uids of its own, in one piece; 0 for none. @default 0 */
  readonly moreUids?: number | undefined
  /** Limits are enforced by control groups where they can be made. */
  readonly withLimits: boolean
}

/**
 * Takes the name and makes the sandbox's directory, in one step that two clients cannot both win.
 *
 * @throws AnyplaceError `conflict` when the name is taken; `unsupported` for a limit that no control group can hold
 */
export async function reserve(
  machine: Machine,
  request: OpenRequest,
  reservation: Reservation,
): Promise<SandboxRecord> {
  const { engine, facts, python } = reservation
  if (!ID.test(request.id) || !NAME.test(request.name))
    throw new AnyplaceError(
      'invalid-argument',
      `Not a sandbox id and name: ${JSON.stringify(request.id)}, ${JSON.stringify(request.name)}.`,
      { field: 'name', hint: 'names are of a-z, 0-9 and inner hyphens, 63 at most' },
    )
  const now = Date.now()
  const record: SandboxRecord = {
    version: 1,
    id: request.id,
    name: request.name,
    engine,
    createdAtMs: now,
    expiresAtMs: now + request.lifetime.timeoutMs,
    maxExpiresAtMs: now + request.lifetime.maxLifetimeMs,
    owner: request.owner ?? null,
    labels: request.labels,
    specDigest: request.specDigest,
    isolation: reservation.isolation,
    network: reservation.network,
    limits: {},
    workdir: reservation.workdir,
    bootId: facts.bootId,
    python,
    cgroups: {},
  }
  const { cpuLimit, memoryLimitMiB, pidsLimit } = request.spec
  throwIfAborted(request.signal)
  // Not cut off in the middle, which would leave what nobody knows of: it is short, and the start after it is cut off.
  const answer = await runScript(machine, python, [CONTROL_GROUPS, new URL('./reserve.py', import.meta.url)], {
    state: facts.stateDirectory,
    record,
    directories: reservation.directories,
    own_user: reservation.ownUser,
    more_uids: reservation.moreUids ?? 0,
    limits: reservation.withLimits ? { cpuLimit, memoryLimitMiB, pidsLimit } : {},
    pids_default: reservation.withLimits ? DEFAULTS.pidsLimit : null,
  })
  if (typeof answer['conflict'] === 'string')
    throw new AnyplaceError(
      'conflict',
      `The name ${JSON.stringify(request.name)} is taken on ${machine.label} by sandbox ${answer['conflict']}.`,
      { field: 'name', hint: 'attach to it, remove it, or take another name' },
    )
  if (typeof answer['refused'] === 'string') {
    const field = answer['refused']
    throw unsupportedField(
      field,
      (request.spec as Record<string, unknown>)[field],
      `The ${engine} engine on ${machine.label}`,
      String(answer['why']),
      'run as root or in a delegated control group, or use docker: on: "local/docker"',
    )
  }
  return answer['record'] as SandboxRecord
}

/** The record by id or name, of this engine only; undefined when there is none. */
export async function findRecord(
  machine: Machine,
  stateDirectory: string,
  engine: string,
  nameOrId: string,
  options: CallOptions = {},
): Promise<SandboxRecord | undefined> {
  for (const id of await idsOf(machine, stateDirectory, nameOrId, options)) {
    const record = await readRecord(machine, stateDirectory, id, options)
    if (record?.engine === engine && (record.id === nameOrId || record.name === nameOrId)) return record
  }
  return undefined
}

async function idsOf(machine: Machine, stateDirectory: string, nameOrId: string, options: CallOptions) {
  const ids: string[] = []
  if (ID.test(nameOrId)) ids.push(nameOrId)
  if (NAME.test(nameOrId)) {
    const holder = await machine.readFile(`${stateDirectory}/names/${nameOrId}`, options)
    const id = holder === undefined ? '' : Buffer.from(holder).toString('utf8').trim()
    if (ID.test(id)) ids.push(id)
  }
  return ids
}

async function readRecord(
  machine: Machine,
  stateDirectory: string,
  id: string,
  options: CallOptions,
): Promise<SandboxRecord | undefined> {
  const path = `${sandboxDirectory(stateDirectory, id)}/sandbox.json`
  const bytes = await machine.readFile(path, options)
  return bytes === undefined ? undefined : parseRecord(bytes, path)
}

/**
 * Every record of this engine's. Left out are one that is being removed meanwhile, and one that cannot be read: it must not
 * hide the others from whoever lists or cleans up.
 */
export async function* listRecords(
  machine: Machine,
  stateDirectory: string,
  engine: string,
  options: CallOptions = {},
): AsyncIterable<SandboxRecord> {
  for (const id of await machine.listDirectory(`${stateDirectory}/sandboxes`, options)) {
    if (!ID.test(id)) continue
    const record = await readRecord(machine, stateDirectory, id, options).catch(damagedIsNone)
    if (record?.engine === engine) yield record
  }
}

function damagedIsNone(error: unknown): undefined {
  if (!AnyplaceError.is(error, 'internal')) throw error
}

/** The sandbox as it is now: its supervisor tells whether it runs, its expiry file when it ends. */
export async function hostInfo(
  machine: Machine,
  facts: MachineFacts,
  record: SandboxRecord,
  options: CallOptions = {},
): Promise<HostInfo> {
  const directory = sandboxDirectory(facts.stateDirectory, record.id)
  const [isRunning, isStarted, expiresAtMs] = await Promise.all([
    runs(machine, facts, record, options),
    machine.readFile(`${directory}/run/supervisor.pid`, options),
    extendedExpiry(machine, directory, options),
  ])
  const expires = Math.min(Math.max(record.expiresAtMs, expiresAtMs ?? 0), record.maxExpiresAtMs)
  const isStarting = isStarted === undefined && Date.now() - record.createdAtMs < STARTING_MS
  const state = isRunning ? 'running' : isStarting ? 'starting' : 'exited'
  return {
    id: record.id,
    name: record.name,
    provider: 'local',
    engine: record.engine,
    state,
    createdAt: new Date(record.createdAtMs),
    expiresAt: new Date(expires),
    owner: record.owner ?? undefined,
    labels: record.labels,
    specDigest: record.specDigest,
    isolation: record.isolation,
    limits: record.limits,
    network: record.network,
    workdir: record.workdir,
    ...(state === 'exited' ? { reason: endReason(facts, record, expires) } : {}),
  }
}

function endReason(facts: MachineFacts, record: SandboxRecord, expiresAtMs: number): string {
  if (facts.bootId !== record.bootId) return 'the machine was started anew'
  return Date.now() >= expiresAtMs ? 'its lifetime ended' : 'its exec daemon ended'
}

async function runs(machine: Machine, facts: MachineFacts, record: SandboxRecord, options: CallOptions) {
  if (facts.bootId !== record.bootId) return false
  const directory = sandboxDirectory(facts.stateDirectory, record.id)
  const bytes = await machine.readFile(`${directory}/run/supervisor.pid`, options)
  const [pid, started] = (bytes === undefined ? '' : Buffer.from(bytes).toString('utf8')).trim().split(' ')
  if (!pid || !/^\d+$/.test(pid)) return false
  const stat = await machine.readFile(`/proc/${pid}/stat`, options).catch(() => undefined)
  if (stat === undefined) return false
  const text = Buffer.from(stat).toString('latin1')
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return fields[19] === started && fields[0] !== 'Z' && fields[0] !== 'X'
}

/** Written by the daemon when it was extended: milliseconds since boot, so that setting the clock does not move it. */
async function extendedExpiry(machine: Machine, directory: string, options: CallOptions) {
  const [expiry, uptime] = await Promise.all([
    machine.readFile(`${directory}/run/expiry`, options),
    machine.readFile('/proc/uptime', options),
  ])
  if (expiry === undefined || uptime === undefined) return undefined
  const bootMs = Number.parseInt(Buffer.from(expiry).toString('latin1'), 10)
  const sinceBootMs = Number.parseFloat(Buffer.from(uptime).toString('latin1')) * 1000
  return Number.isFinite(bootMs) ? Math.round(Date.now() + bootMs - sinceBootMs) : undefined
}

/** Ends what runs of the sandbox and removes all of it. Idempotent. */
export async function removeSandbox(
  machine: Machine,
  stateDirectory: string,
  record: Pick<SandboxRecord, 'id' | 'name' | 'python' | 'cgroups'>,
  options: CallOptions = {},
): Promise<void> {
  const answer = await runScript(
    machine,
    record.python,
    [new URL('./remove.py', import.meta.url)],
    { state: stateDirectory, id: record.id, name: record.name, cgroups: Object.values(record.cgroups) },
    options,
  )
  if (answer['removed'] !== true)
    throw new AnyplaceError('permission-denied', `Cannot remove ${String(answer['directory'])} on ${machine.label}.`, {
      hint: 'remove it as the user that it belongs to, or as root',
    })
}

/** Removes what a removal that was cut off has left. Nothing happens when there is none. */
export async function removeRemains(
  machine: Machine,
  stateDirectory: string,
  id: string,
  options: CallOptions = {},
): Promise<void> {
  if (ID.test(id)) await machine.remove(`${stateDirectory}/sandboxes/.removing-${id}`, options)
}

/** argv by which a sandbox removes itself once its processes have ended. */
export async function removalArgv(stateDirectory: string, record: SandboxRecord): Promise<readonly string[]> {
  const source = await script(new URL('./at_end.py', import.meta.url))
  const { id, name, cgroups } = record
  const given = JSON.stringify({ state: stateDirectory, id, name, cgroups: Object.values(cgroups) })
  return [record.python, '-I', '-S', '-c', source, given]
}
