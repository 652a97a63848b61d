import { AnyplaceError } from '../spec/index.ts'
import { environmentKey, profileFields } from './profile-fields.ts'
import { assemble, checkProfileName, checked, defaultOf } from './read-profile.ts'
import type { FoundValue } from './read-profile.ts'
import type { LoadedProfile } from './profile.ts'

export type Environment = Readonly<Record<string, string | undefined>>

/** Our names and the reference's, in the order in which they are looked up. */
const PREFIXES = ['ANYPLACE_POOL_', 'ATROPOS_MODAL_'] as const

/**
 * A profile from variables: per profile (`ANYPLACE_POOL_PROFILE_GPU_IMAGE`, `ATROPOS_MODAL_PROFILE_GPU_IMAGE`), then for
 * all (`ANYPLACE_POOL_IMAGE`, `ATROPOS_MODAL_IMAGE`), then defaults.
 *
 * @throws AnyplaceError `invalid-argument` that names the variable
 */
export function profileFromEnvironment(name: string, env: Environment): LoadedProfile {
  checkProfileName(name, 'the environment')
  const middle = `PROFILE_${name.toUpperCase().replaceAll('-', '_')}_`
  const found = profileFields().map(([field, definition]): FoundValue => {
    const key = environmentKey(definition)
    const candidates = [
      ...PREFIXES.map((prefix) => `${prefix}${middle}${key}`),
      ...PREFIXES.map((prefix) => prefix + key),
    ]
    const variable = candidates.find((candidate) => env[candidate] !== undefined)
    if (variable === undefined) return defaultOf(field, definition)
    const text = env[variable] ?? ''
    const origin = { kind: 'environment', source: variable } as const
    if (text.trim() !== '') return { field, value: checked(variable, field, () => definition.parse(text)), origin }
    if (definition.mayBeEmpty) return { field, value: definition.default, origin }
    throw new AnyplaceError('invalid-argument', `${variable} is empty.`, {
      field,
      hint: 'unset it to have the default',
    })
  })
  return assemble(name, found, 'the environment')
}

/** The names in ANYPLACE_POOL_PROFILES or ATROPOS_MODAL_PROFILES; `default` when there are none. */
export function profileNamesFromEnvironment(env: Environment): readonly string[] {
  const variable = PREFIXES.map((prefix) => `${prefix}PROFILES`).find((name) => env[name] !== undefined)
  const names = (variable === undefined ? '' : (env[variable] ?? ''))
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '')
  for (const name of names) checkProfileName(name, variable ?? '')
  const keys = new Map<string, string>()
  for (const name of new Set(names)) {
    const key = name.toUpperCase().replaceAll('-', '_')
    const other = keys.get(key)
    if (other !== undefined) {
      throw new AnyplaceError(
        'invalid-argument',
        `${variable ?? ''}: the profiles ${other} and ${name} have the same variables (${key}).`,
        { field: 'profiles', hint: 'rename one of them' },
      )
    }
    keys.set(key, name)
  }
  return names.length === 0 ? ['default'] : [...new Set(names)]
}

/** The file named by ANYPLACE_POOL_PROFILES_FILE or ATROPOS_MODAL_PROFILES_FILE, and by which of them. */
export function profilesFileFromEnvironment(env: Environment): { path: string; variable: string } | undefined {
  for (const prefix of PREFIXES) {
    const variable = `${prefix}PROFILES_FILE`
    const path = env[variable]
    if (path !== undefined && path !== '') return { path, variable }
  }
  return undefined
}
