import { AnyplaceError } from '../spec/index.ts'
import { suggest } from '../sandboxes/suggest.ts'
import { ProfileFault } from './profile-checks.ts'
import { profileFields } from './profile-fields.ts'
import type { FieldName, ProfileField } from './profile-fields.ts'
import type { LoadedProfile, PoolProfile, ProfileInput, ValueOrigin } from './profile.ts'

const PROFILE_NAME = /^[A-Za-z0-9](?:[A-Za-z0-9_-]{0,22}[A-Za-z0-9])?$/

/** Where an object's fields came from. */
export interface RecordSource {
  readonly kind: 'object' | 'file'
  /** Such as `profiles.yaml: profiles.gpu`. */
  readonly where: string
}

/**
 * A profile from an object of the program or of a file. Both spellings of a field are known: ours (`idleTimeoutMs`, in
 * milliseconds) and the reference's (`idle_timeout`, in seconds).
 *
 * @throws AnyplaceError `invalid-argument` that names the field and where it stands
 */
export function readProfile(
  name: string,
  given: ProfileInput | Readonly<Record<string, unknown>>,
  source: RecordSource = { kind: 'object', where: `profile ${JSON.stringify(name)}` },
): LoadedProfile {
  checkProfileName(name, source.where)
  const values = new Map<string, unknown>(Object.entries(given))
  const found = profileFields().map(([field, definition]) => {
    const spelling = spellingOf(field, definition, values, source.where)
    if (spelling === undefined) return defaultOf(field, definition)
    const raw = values.get(spelling)
    values.delete(spelling)
    const where = `${source.where}.${spelling}`
    const value = checked(where, spelling, () => {
      const isSeconds = definition.seconds === true && spelling !== field
      const result = definition.check(raw)
      return isSeconds ? (result as number) * 1000 : result
    })
    return { field, value, origin: { kind: source.kind, source: where } }
  })
  for (const unknown of values.keys()) {
    if (values.get(unknown) === undefined || unknown === 'name') continue
    throw unknownField(unknown, source.where)
  }
  return assemble(name, found, source.where)
}

/** One value that was found, and where. */
export interface FoundValue {
  readonly field: FieldName
  readonly value: unknown
  readonly origin: ValueOrigin
}

export function defaultOf(field: FieldName, definition: ProfileField): FoundValue {
  return { field, value: definition.default, origin: { kind: 'default', source: 'default' } }
}

/** Runs a check and makes its fault an error that names the field and the place. */
export function checked(where: string, field: string, check: () => unknown): unknown {
  try {
    return check()
  } catch (error) {
    if (!(error instanceof ProfileFault)) throw error
    throw new AnyplaceError('invalid-argument', `${where} ${error.message}.`, { field })
  }
}

/** Puts the values together and checks them against each other. */
export function assemble(name: string, found: readonly FoundValue[], where: string): LoadedProfile {
  const profile = {
    name,
    ...Object.fromEntries(found.map(({ field, value }) => [field, value])),
  } as unknown as PoolProfile
  const origins = Object.fromEntries(found.map(({ field, origin }) => [field, origin])) as LoadedProfile['origins']
  const wrong = (field: FieldName, text: string): never => {
    const place = origins[field].kind === 'default' ? where : origins[field].source
    throw new AnyplaceError('invalid-argument', `${place}: ${text}.`, { field })
  }
  if (profile.minSandboxes > profile.maxSandboxes) {
    const field = origins.minSandboxes.kind === 'default' ? 'maxSandboxes' : 'minSandboxes'
    wrong(field, `minSandboxes ${profile.minSandboxes} is above maxSandboxes ${profile.maxSandboxes}`)
  }
  if (profile.reset === 'template' && profile.template === undefined) {
    wrong('reset', 'reset "template" needs a template directory')
  }
  return { profile, origins }
}

/** @throws AnyplaceError `invalid-argument` */
export function checkProfileName(name: string, where: string): void {
  if (PROFILE_NAME.test(name)) return
  throw new AnyplaceError(
    'invalid-argument',
    `${where}: a profile's name is 1 to 24 of A-Z, a-z, 0-9, - and _ (got ${JSON.stringify(name)}).`,
    { field: 'profile' },
  )
}

function spellingOf(
  field: FieldName,
  definition: ProfileField,
  values: ReadonlyMap<string, unknown>,
  where: string,
): string | undefined {
  const spellings = [...new Set([field, definition.key, definition.key.replace(/_s$/, '')])]
  const given = spellings.filter((spelling) => values.get(spelling) !== undefined)
  if (given.length > 1) {
    throw new AnyplaceError('invalid-argument', `${where} gives ${given.join(' and ')}, which are the same field.`, {
      field,
      hint: 'keep one of them',
    })
  }
  return given[0]
}

function unknownField(field: string, where: string): AnyplaceError {
  const known = profileFields().flatMap(([name, { key }]) => [name, key])
  const meant = suggest(field, known)
  return new AnyplaceError('invalid-argument', `${where}.${field} is not a field of a profile.`, {
    field,
    hint: meant === undefined ? 'docs/pools.md lists the fields' : `did you mean ${meant}?`,
  })
}
