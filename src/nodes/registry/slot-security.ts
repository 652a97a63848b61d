import { readFile } from 'node:fs/promises'
import { isAbsolute } from 'node:path'
import type { SlotSecurity } from '../../engines/docker/slot-security.ts'
import { AnyplaceError } from '../../spec/index.ts'
import type { NodeConfig } from './node-records.ts'

const MAX_PROFILE_BYTES = 1024 * 1024

/** What the node names, read when it is needed. Undefined: it names nothing. */
export function slotSecurityOf(config: NodeConfig): (() => Promise<SlotSecurity>) | undefined {
  const { slotAppArmorProfile: appArmorProfile, slotSeccompProfile: path } = config
  return path === undefined
    ? undefined
    : async () => ({ seccompProfile: await readSeccompProfile(path), appArmorProfile })
}

/** @throws AnyplaceError `file-not-found`, `invalid-argument`, both with the path */
export async function readSeccompProfile(path: string): Promise<string> {
  const field = 'slotSeccompProfile'
  const shown = JSON.stringify(path)
  const hint = 'docs/slots.md shows how to make one'
  if (!isAbsolute(path))
    throw new AnyplaceError('invalid-argument', `${field} ${shown} is no absolute path.`, { field })
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (cause) {
    const why = (cause as NodeJS.ErrnoException).code
    throw new AnyplaceError('file-not-found', `The seccomp profile ${shown} cannot be read here (${why}).`, {
      field,
      hint,
      cause,
    })
  }
  if (text.length <= MAX_PROFILE_BYTES && isProfile(text)) return text
  throw new AnyplaceError(
    'invalid-argument',
    `${shown} is no seccomp profile: no JSON with a defaultAction and syscalls.`,
    { field, hint },
  )
}

function isProfile(text: string): boolean {
  try {
    const profile = JSON.parse(text) as { readonly defaultAction?: unknown; readonly syscalls?: unknown } | null
    return typeof profile?.defaultAction === 'string' && Array.isArray(profile.syscalls)
  } catch {
    return false
  }
}
