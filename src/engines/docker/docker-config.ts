import type { CallOptions, Machine } from '../../spec/index.ts'

/** What Anyplace reads of `~/.docker/config.json`. */
export interface DockerConfig {
  readonly currentContext: string | undefined
  /** Registry (as written there) to its entry. */
  readonly auths: Readonly<Record<string, { readonly auth?: unknown; readonly identitytoken?: unknown }>>
  /** Registry to the program that holds its password. */
  readonly credHelpers: Readonly<Record<string, unknown>>
  readonly credsStore: string | undefined
}

const EMPTY: DockerConfig = { currentContext: undefined, auths: {}, credHelpers: {}, credsStore: undefined }

/** The user's Docker configuration; empty when there is none or it cannot be read, as the Docker client does. */
export async function readDockerConfig(
  machine: Machine,
  home: string,
  options: CallOptions = {},
): Promise<DockerConfig> {
  const bytes = await machine.readFile(`${home}/.docker/config.json`, options).catch(() => undefined)
  if (bytes === undefined) return EMPTY
  let parsed: unknown
  try {
    parsed = JSON.parse(Buffer.from(bytes).toString())
  } catch {
    return EMPTY
  }
  if (!isRecord(parsed)) return EMPTY
  const text = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined)
  return {
    currentContext: text(parsed['currentContext']),
    auths: isRecord(parsed['auths']) ? (parsed['auths'] as DockerConfig['auths']) : {},
    credHelpers: isRecord(parsed['credHelpers']) ? parsed['credHelpers'] : {},
    credsStore: text(parsed['credsStore']),
  }
}

/** How a pull from one registry authenticates. */
export interface RegistryLogin {
  /** Value of the X-Registry-Auth header; a secret. */
  readonly header: string | undefined
  /** The credential program that is configured for the registry and that we do not run. */
  readonly helper: string | undefined
}

/** The stored login for a registry. Docker Hub is filed under the address of its first version. */
export function registryLogin(config: DockerConfig, registry: string): RegistryLogin {
  const names =
    registry === 'docker.io'
      ? ['https://index.docker.io/v1/', 'docker.io', 'index.docker.io']
      : [registry, `https://${registry}`]
  const helper = names.map((name) => config.credHelpers[name]).find((value) => typeof value === 'string')
  for (const name of names) {
    const entry = config.auths[name]
    if (!isRecord(entry)) continue
    if (typeof entry.identitytoken === 'string' && entry.identitytoken !== '') {
      return { header: encode({ identitytoken: entry.identitytoken, serveraddress: name }), helper: undefined }
    }
    if (typeof entry.auth !== 'string') continue
    const plain = Buffer.from(entry.auth, 'base64').toString()
    const colon = plain.indexOf(':')
    if (colon < 1) continue
    // Logins written by hand may end in NUL bytes.
    const password = plain.slice(colon + 1).replace(/\0+$/, '')
    return { header: encode({ username: plain.slice(0, colon), password, serveraddress: name }), helper: undefined }
  }
  return { header: undefined, helper: typeof helper === 'string' ? helper : config.credsStore }
}

function encode(login: Readonly<Record<string, string>>): string {
  return Buffer.from(JSON.stringify(login)).toString('base64url')
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
