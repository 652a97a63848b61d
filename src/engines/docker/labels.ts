import { AnyplaceError } from '../../spec/index.ts'
import type { HostInfo, OpenRequest, Owner } from '../../spec/index.ts'

/** Names of our labels on containers and networks. */
export const LABEL = {
  id: 'anyplace.id',
  name: 'anyplace.name',
  owner: 'anyplace.owner',
  created: 'anyplace.created',
  /** ISO time of the latest end; a daemon may end it before. */
  expires: 'anyplace.expires',
  specDigest: 'anyplace.spec-digest',
  /** What a later client needs to start the daemon again: JSON of {@link StoredConfig}. */
  config: 'anyplace.config',
  user: 'anyplace.user.',
} as const

/** What the daemon is configured with and cannot be read from the container itself. Never secrets. */
export interface StoredConfig {
  readonly expiresAtMs: number
  readonly maxExpiresAtMs: number
  readonly idleTimeoutMs?: number | undefined
  readonly workdir: string
  /** The reference as it was asked for; the container itself names the image by its id. */
  readonly image: string
  readonly user?: string | undefined
  readonly env: Readonly<Record<string, string>>
  /** A directory that root makes for the user before the first command. */
  readonly home?: string | undefined
  readonly slotNamespaces?: boolean | undefined
}

/** The labels of a new sandbox. */
export function labelsOf(request: OpenRequest, createdAt: Date, config: StoredConfig): Record<string, string> {
  const labels: Record<string, string> = {
    [LABEL.id]: request.id,
    [LABEL.name]: request.name,
    [LABEL.created]: createdAt.toISOString(),
    [LABEL.expires]: new Date(config.maxExpiresAtMs).toISOString(),
    [LABEL.specDigest]: request.specDigest,
    [LABEL.config]: JSON.stringify(config),
  }
  if (request.owner !== undefined) labels[LABEL.owner] = JSON.stringify(request.owner)
  for (const [key, value] of Object.entries(request.labels)) labels[LABEL.user + key] = value
  return labels
}

/** The part of HostInfo that our labels tell. Foreign or broken ones give defaults, so that gc can still see the sandbox. */
export function factsOf(
  labels: Readonly<Record<string, string>>,
): Pick<HostInfo, 'id' | 'name' | 'owner' | 'labels' | 'specDigest' | 'createdAt' | 'expiresAt'> {
  const created = new Date(labels[LABEL.created] ?? Number.NaN)
  const expires = new Date(labels[LABEL.expires] ?? Number.NaN)
  const own = Object.entries(labels).filter(([key]) => key.startsWith(LABEL.user))
  return {
    id: labels[LABEL.id] ?? '',
    name: labels[LABEL.name] ?? '',
    owner: parse<Owner>(labels[LABEL.owner]),
    labels: Object.fromEntries(own.map(([key, value]) => [key.slice(LABEL.user.length), value])),
    specDigest: labels[LABEL.specDigest] ?? '',
    createdAt: Number.isNaN(created.getTime()) ? new Date(0) : created,
    expiresAt: Number.isNaN(expires.getTime()) ? new Date(0) : expires,
  }
}

/** @throws AnyplaceError `protocol-error` when the container was not made by a version of Anyplace that we understand */
export function storedConfig(labels: Readonly<Record<string, string>>): StoredConfig {
  const config = parse<StoredConfig>(labels[LABEL.config])
  if (config === undefined || typeof config.workdir !== 'string' || typeof config.maxExpiresAtMs !== 'number') {
    throw new AnyplaceError(
      'protocol-error',
      `Sandbox ${JSON.stringify(labels[LABEL.name] ?? '')} has no readable label ${LABEL.config}.`,
      {
        hint: 'It was made by another version of Anyplace; remove it and open it again',
      },
    )
  }
  return config
}

function parse<T extends object>(text: string | undefined): T | undefined {
  if (text === undefined) return undefined
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as T) : undefined
  } catch {
    return undefined
  }
}
