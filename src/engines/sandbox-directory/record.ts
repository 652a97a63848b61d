import { AnyplaceError } from '../../spec/index.ts'
import type { HostInfo, Isolation, Owner } from '../../spec/index.ts'

/** What is kept of a sandbox in its directory, as `sandbox.json`. Holds no environment and no secret. */
export interface SandboxRecord {
  readonly version: 1
  readonly id: string
  readonly name: string
  readonly engine: string
  readonly createdAtMs: number
  readonly expiresAtMs: number
  readonly maxExpiresAtMs: number
  /** Null: belongs to nobody. */
  readonly owner: Owner | null
  readonly labels: Readonly<Record<string, string>>
  readonly specDigest: string
  readonly isolation: Isolation
  readonly network: HostInfo['network']
  readonly limits: HostInfo['limits']
  /** As seen inside. */
  readonly workdir: string
  /** The machine's boot: processes of another boot are gone whatever their pid. */
  readonly bootId: string
  /** The interpreter that reaches and removes it. */
  readonly python: string
  /** The unprivileged uid and gid that a sandbox of root's runs as on the machine. */
  readonly hostUid?: number
  /** The uids (and gids) on the machine that are this sandbox's for its slots; the first is that of its own root. */
  readonly slotUids?: { readonly first: number; readonly count: number }
  /** Control group directories by controller (`unified` for version 2). */
  readonly cgroups: Readonly<Record<string, string>>
}

/** @throws AnyplaceError `internal` for a record that another version wrote or that was damaged */
export function parseRecord(bytes: Uint8Array, path: string): SandboxRecord {
  let value: unknown
  try {
    value = JSON.parse(Buffer.from(bytes).toString('utf8'))
  } catch (error) {
    throw new AnyplaceError('internal', `The sandbox record ${path} is not JSON.`, {
      cause: error,
      hint: 'remove that directory when nothing of it runs',
    })
  }
  if (isRecord(value)) return value
  throw new AnyplaceError('internal', `The sandbox record ${path} is not one this version can read.`, {
    hint: 'remove the sandbox with the version of Anyplace that made it',
  })
}

function isRecord(value: unknown): value is SandboxRecord {
  if (typeof value !== 'object' || value === null) return false
  const fields = value as Record<string, unknown>
  return (
    fields['version'] === 1 &&
    ['id', 'name', 'engine', 'specDigest', 'isolation', 'network', 'workdir', 'bootId', 'python'].every(
      (name) => typeof fields[name] === 'string',
    ) &&
    ['createdAtMs', 'expiresAtMs', 'maxExpiresAtMs'].every((name) => Number.isFinite(fields[name])) &&
    ['labels', 'limits', 'cgroups'].every((name) => typeof fields[name] === 'object' && fields[name] !== null)
  )
}
