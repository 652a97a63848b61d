import type { MachineFacts, Mount, SandboxSpec } from '../../spec/index.ts'
import { AnyplaceError, unsupportedField } from '../../spec/index.ts'
import { checkAbsolute } from '../sandbox-directory/check-needs.ts'
import { sandboxDirectory } from '../sandbox-directory/sandbox-store.ts'
import type { SandboxRecord } from '../sandbox-directory/record.ts'

/** Uid and gid of the one user inside. */
export const INSIDE_ID = 1000
export const INSIDE_NAME = 'sandbox'
export const INSIDE_HOME = '/home/sandbox'
/** The first uid inside that a slot may have. */
export const FIRST_SLOT_ID = 100_000
/** Where slots are unless they are asked for elsewhere: the root itself is read-only. */
const SLOTS_BASE = '/data'
const INSIDE_JOURNAL = '/run/anyplace/journal'
/** What the engine itself puts there; a mount must not hide or open it. */
const OURS = ['/proc', '/sys', '/dev', '/run', '/usr', '/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32']
/** Directories that are writable anyway, so a workdir below needs no directory of its own. */
const WRITABLE = ['/workspace', '/tmp', INSIDE_HOME]

/** A bind mount in the plan; `own` marks a directory of the sandbox's own, whose owner is right already. */
export interface PlannedMount {
  readonly source: string
  readonly target: string
  readonly writable: boolean
  readonly own: boolean
}

/** What `place.py` reads from its first argument. */
export interface Plan {
  readonly id: string
  readonly name: string
  readonly state: string
  readonly directory: string
  readonly hostname: string
  readonly network: boolean
  /** Null: an ordinary user's sandbox, which runs as that user. */
  readonly host_uid: number | null
  readonly host_gid: number | null
  readonly inside_uid: number
  readonly inside_gid: number
  /** Null: nobody but the one user. Else the exec daemon is root inside, and uids from `first` on are there for slots. */
  readonly slots: {
    readonly first: number
    readonly host_root: number
    readonly host_first: number
    readonly count: number
  } | null
  readonly mounts: readonly PlannedMount[]
  /** Further files below /dev. */
  readonly devices: readonly string[]
  readonly cgroups: Readonly<Record<string, string>>
  readonly probe: boolean
}

/** Absolute; relative ones are below /workspace. */
export function insideWorkdir(workdir: string | undefined): string {
  if (workdir === undefined) return '/workspace'
  return checkAbsolute(workdir.startsWith('/') ? workdir : `/workspace/${workdir}`, 'workdir')
}

/** The mounts that were asked for, with clean paths. @throws AnyplaceError `invalid-argument` or `unsupported` */
export function givenMounts(spec: SandboxSpec): readonly PlannedMount[] {
  const mounts: readonly Mount[] = [
    ...(spec.workspace === undefined ? [] : [{ source: spec.workspace, target: '/workspace', writable: true }]),
    ...(spec.mounts ?? []),
  ]
  const planned = mounts.map(({ source, target, writable = false }) => ({
    source: checkAbsolute(source, 'mounts.source'),
    target: checkAbsolute(target, 'mounts.target'),
    writable,
    own: false,
  }))
  for (const { target } of planned) {
    const ours = OURS.find((path) => isWithin(target, path))
    if (target === '/' || ours !== undefined)
      throw unsupportedField(
        'mounts',
        target,
        'The namespace engine',
        target === '/' ? 'it is the root itself' : `${ours} holds the system`,
        'mount it elsewhere, such as below /mnt',
      )
    if (planned.filter((other) => other.target === target).length > 1)
      throw new AnyplaceError('invalid-argument', `Two mounts have the target ${JSON.stringify(target)}.`, {
        field: 'mounts',
      })
  }
  return planned
}

/** True when the workdir lies where nothing writable is, so that it gets a directory of its own. */
export function needsOwnWorkdir(workdir: string, mounts: readonly PlannedMount[]): boolean {
  const covered = [...WRITABLE, ...mounts.map((mount) => mount.target)]
  if (covered.some((path) => isWithin(workdir, path))) return false
  const ours = OURS.find((path) => isWithin(workdir, path))
  if (workdir === '/' || ours !== undefined || isWithin(workdir, '/etc'))
    throw unsupportedField(
      'workdir',
      workdir,
      'The namespace engine',
      'it is read-only there',
      'choose a directory below /workspace, or another one at the top such as /data',
    )
  return true
}

export function isWithin(path: string, directory: string): boolean {
  return path === directory || path.startsWith(`${directory}/`)
}

/** Everything that `place.py` needs to build the sandbox of a record. */
export function planOf(
  facts: MachineFacts,
  record: SandboxRecord,
  spec: SandboxSpec,
  mounts: readonly PlannedMount[],
  devices: readonly string[],
): Plan {
  const directory = sandboxDirectory(facts.stateDirectory, record.id)
  const own = (name: string, target: string): PlannedMount => ({
    source: `${directory}/${name}`,
    target,
    writable: true,
    own: true,
  })
  const hasWorkspace = mounts.some((mount) => mount.target === '/workspace')
  return {
    id: record.id,
    name: record.name,
    state: facts.stateDirectory,
    directory,
    hostname: record.name,
    network: spec.network !== false,
    host_uid: record.hostUid ?? null,
    host_gid: record.hostUid ?? null,
    inside_uid: INSIDE_ID,
    inside_gid: INSIDE_ID,
    slots: slotsOf(record),
    mounts: [
      ...(hasWorkspace ? [] : [own('workspace', '/workspace')]),
      ...(needsOwnWorkdir(record.workdir, mounts) ? [own('workdir', record.workdir)] : []),
      ...(needsSlotsBase(record, mounts) ? [own('slots', SLOTS_BASE)] : []),
      own('journal', INSIDE_JOURNAL),
      ...mounts,
    ],
    devices,
    cgroups: record.cgroups,
    probe: false,
  }
}

function slotsOf({ slotUids }: SandboxRecord): Plan['slots'] {
  if (slotUids === undefined) return null
  const { first, count } = slotUids
  return { first: FIRST_SLOT_ID, host_root: first, host_first: first + 1, count: count - 1 }
}

/** True unless something else is to be seen there. */
function needsSlotsBase(record: SandboxRecord, mounts: readonly PlannedMount[]): boolean {
  if (record.slotUids === undefined) return false
  return ![record.workdir, ...mounts.map((mount) => mount.target)].some((path) => isWithin(path, SLOTS_BASE))
}

export { INSIDE_JOURNAL }
