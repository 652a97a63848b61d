import { AnyplaceError } from '../spec/index.ts'
import { suggest } from '../sandboxes/suggest.ts'
import {
  profileFromEnvironment,
  profileNamesFromEnvironment,
  profilesFileFromEnvironment,
} from './profiles-from-environment.ts'
import type { Environment } from './profiles-from-environment.ts'
import { profilesFromFile } from './profiles-from-file.ts'
import { readProfile } from './read-profile.ts'
import type { LoadedProfile, ProfileInput } from './profile.ts'

/** Where profiles come from. The first of them that is there gives all profiles; they are never mixed. */
export interface ProfileSources {
  /** Profiles by name. */
  readonly profiles?: Readonly<Record<string, ProfileInput>> | undefined
  /** A YAML file with a map `profiles:`. */
  readonly profilesFile?: string | undefined
  /** Then `ANYPLACE_POOL_PROFILES_FILE`, then the variables themselves. @default process.env */
  readonly env?: Environment | undefined
}

/**
 * All profiles and where each value came from: those given, else those of the file given, else of the file that the
 * environment names, else from variables. The profile `default` always exists; where nobody wrote it, it has the
 * environment's values for all profiles and the defaults.
 *
 * @throws AnyplaceError `invalid-argument`, `file-not-found`, `permission-denied`: a broken source is never skipped
 */
export async function loadProfiles(sources: ProfileSources = {}): Promise<ReadonlyMap<string, LoadedProfile>> {
  const env = sources.env ?? process.env
  const loaded = await firstSource(sources, env)
  const profiles = new Map(loaded.map((one) => [one.profile.name, one]))
  if (!profiles.has('default')) profiles.set('default', profileFromEnvironment('default', env))
  return profiles
}

async function firstSource(sources: ProfileSources, env: Environment): Promise<readonly LoadedProfile[]> {
  if (sources.profiles !== undefined) {
    return Object.entries(sources.profiles).map(([name, input]) => readProfile(name, input))
  }
  if (sources.profilesFile !== undefined) return profilesFromFile(sources.profilesFile)
  const file = profilesFileFromEnvironment(env)
  if (file !== undefined) return profilesFromFile(file.path, file.variable)
  return profileNamesFromEnvironment(env).map((name) => profileFromEnvironment(name, env))
}

/** @throws AnyplaceError `not-found` that says what there is */
export function profileNamed(profiles: ReadonlyMap<string, LoadedProfile>, name: string): LoadedProfile {
  const found = profiles.get(name)
  if (found !== undefined) return found
  const meant = suggest(name, profiles.keys())
  throw new AnyplaceError(
    'not-found',
    `No profile named ${JSON.stringify(name)}; there are ${[...profiles.keys()].join(', ')}.`,
    { field: 'profile', hint: meant === undefined ? 'choose one of them' : `did you mean ${meant}?` },
  )
}
