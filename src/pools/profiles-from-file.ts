import { readFile } from 'node:fs/promises'
import { AnyplaceError } from '../spec/index.ts'
import { fileError } from '../kit/file-error.ts'
import { readProfile } from './read-profile.ts'
import type { LoadedProfile } from './profile.ts'

const MAX_ALIASES = 100

/**
 * The profiles of a YAML file, below `profiles:`.
 *
 * @param named how the file was chosen, for messages: `ANYPLACE_POOL_PROFILES_FILE` or `--profiles`
 * @throws AnyplaceError `file-not-found`, `permission-denied`; `invalid-argument` with line and column, or with the field
 */
export async function profilesFromFile(path: string, named?: string): Promise<readonly LoadedProfile[]> {
  const bySomeone = named === undefined ? '' : ` (named by ${named})`
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    throw fileError(error, `read the profiles${bySomeone}`, path)
  }
  const content = await parsed(text, path)
  const profiles = isRecord(content) ? content['profiles'] : undefined
  if (!isRecord(profiles)) {
    throw new AnyplaceError('invalid-argument', `${path}${bySomeone} has no map "profiles".`, {
      field: 'profiles',
      hint: 'write profiles:, and below it a name and its fields for each profile',
    })
  }
  return Object.entries(profiles).map(([name, fields]) => {
    const where = `${path}: profiles.${name}`
    if (fields !== null && !isRecord(fields)) {
      throw new AnyplaceError('invalid-argument', `${where} must be a map of fields.`, { field: name })
    }
    return readProfile(name, fields ?? {}, { kind: 'file', where })
  })
}

async function parsed(text: string, path: string): Promise<unknown> {
  const { parseDocument } = await import('yaml')
  const document = parseDocument(text, { prettyErrors: true, uniqueKeys: true })
  const fault = document.errors[0]
  if (fault !== undefined) {
    const at = fault.linePos?.[0]
    const place = at === undefined ? path : `${path}:${at.line}:${at.col}`
    const [first = 'it cannot be read'] = fault.message.split('\n')
    throw new AnyplaceError('invalid-argument', `${place} is no valid YAML: ${first}`, { field: 'profiles' })
  }
  try {
    return document.toJS({ maxAliasCount: MAX_ALIASES })
  } catch (cause) {
    throw new AnyplaceError('invalid-argument', `${path} cannot be read: ${String(cause)}`, {
      cause,
      field: 'profiles',
    })
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
