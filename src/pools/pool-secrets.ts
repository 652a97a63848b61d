import { AnyplaceError } from '../spec/index.ts'
import type { SecretResolver } from './pool-options.ts'
import type { PoolProfile } from './profile.ts'

/**
 * The variables of all secrets that a profile names.
 *
 * @throws AnyplaceError `unsupported` when nothing says where they are, and whatever the resolver throws
 */
export async function secretsOf(
  profile: PoolProfile,
  resolve: SecretResolver | undefined,
): Promise<Readonly<Record<string, string>>> {
  if (profile.secrets.length === 0) return {}
  if (resolve === undefined) {
    throw new AnyplaceError('unsupported', `Profile ${profile.name} names secrets, but nothing says where they are.`, {
      field: 'secrets',
      hint: 'give resolveSecret when the pool is made',
    })
  }
  return Object.assign({}, ...(await Promise.all(profile.secrets.map((secret) => resolve(secret)))))
}
