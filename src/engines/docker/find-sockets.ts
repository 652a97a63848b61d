import { createHash } from 'node:crypto'
import { AnyplaceError } from '../../spec/index.ts'
import type { CallOptions, Machine } from '../../spec/index.ts'
import { readDockerConfig } from './docker-config.ts'

export type EngineKind = 'docker' | 'podman'

/** A place where an engine may answer. */
export interface SocketCandidate {
  readonly path: string
  /** What named it: `DOCKER_HOST`, `context "colima"`, `default`. */
  readonly source: string
}

/**
 * Where an engine of that kind may listen, best first: the variable of the environment, the current Docker context, the
 * usual sockets. What the user named on purpose stands alone: when it does not answer, nothing else is taken instead.
 *
 * @throws AnyplaceError `unsupported` when the user named something that is not a unix socket, `invalid-argument` for a
 * context that does not exist
 */
export async function findSockets(
  machine: Machine,
  kind: EngineKind,
  options: CallOptions = {},
): Promise<readonly SocketCandidate[]> {
  const { engineEnv, homeDirectory: home, uid } = await machine.facts(options)
  const runtime = engineEnv['XDG_RUNTIME_DIR'] || `/run/user/${uid}`
  const dockerHost = engineEnv['DOCKER_HOST']
  if (kind === 'podman') {
    const containerHost = engineEnv['CONTAINER_HOST']
    if (containerHost) return [{ path: socketOf(containerHost, 'CONTAINER_HOST'), source: 'CONTAINER_HOST' }]
    const usual = [
      `${runtime}/podman/podman.sock`,
      '/run/podman/podman.sock',
      `${home}/.local/share/containers/podman/machine/podman.sock`,
    ]
    // DOCKER_HOST may name Podman's socket, but it is Docker's variable: here it is only the first guess.
    const guess = dockerHost?.startsWith('unix://')
      ? [{ path: socketOf(dockerHost, 'DOCKER_HOST'), source: 'DOCKER_HOST' }]
      : []
    return [...guess, ...usual.map((path) => ({ path, source: 'default' }))]
  }
  if (dockerHost) return [{ path: socketOf(dockerHost, 'DOCKER_HOST'), source: 'DOCKER_HOST' }]
  const context = await contextHost(machine, home, engineEnv['DOCKER_CONTEXT'], options)
  if (context !== undefined) return [{ path: socketOf(context.host, context.source), source: context.source }]
  return [
    '/var/run/docker.sock',
    `${home}/.docker/run/docker.sock`,
    `${home}/.docker/desktop/docker.sock`,
    `${home}/.colima/default/docker.sock`,
    `${home}/.colima/docker.sock`,
    `${runtime}/docker.sock`,
  ].map((path) => ({ path, source: 'default' }))
}

/** The endpoint of the Docker context in use; undefined for the default one, which has no file. */
async function contextHost(
  machine: Machine,
  home: string,
  fromEnv: string | undefined,
  options: CallOptions,
): Promise<{ readonly host: string; readonly source: string } | undefined> {
  const name = fromEnv || (await readDockerConfig(machine, home, options)).currentContext
  if (name === undefined || name === 'default') return undefined
  const source = `context ${JSON.stringify(name)}`
  const digest = createHash('sha256').update(name).digest('hex')
  const file = `${home}/.docker/contexts/meta/${digest}/meta.json`
  const bytes = await machine.readFile(file, options)
  if (bytes === undefined) {
    throw new AnyplaceError('invalid-argument', `The Docker ${source} does not exist on ${machine.label}.`, {
      hint: 'See `docker context ls`; choose one with `docker context use` or DOCKER_CONTEXT',
    })
  }
  const host = endpointOf(bytes)
  if (host === undefined) {
    throw new AnyplaceError('invalid-argument', `The Docker ${source} names no Docker endpoint (${file}).`)
  }
  return { host, source }
}

function endpointOf(bytes: Uint8Array): string | undefined {
  try {
    const meta = JSON.parse(Buffer.from(bytes).toString()) as { Endpoints?: { docker?: { Host?: unknown } } }
    const host = meta.Endpoints?.docker?.Host
    return typeof host === 'string' && host !== '' ? host : undefined
  } catch {
    return undefined
  }
}

function socketOf(host: string, source: string): string {
  const path = host.startsWith('unix://') ? host.slice('unix://'.length) : ''
  if (path.startsWith('/')) return path
  // A URL may hold a password.
  const shown = host.replace(/\/\/[^/@]*@/, '//…@')
  throw new AnyplaceError(
    'unsupported',
    `${source} is ${JSON.stringify(shown)}: only unix:// sockets are supported yet.`,
    {
      hint: host.startsWith('ssh://')
        ? 'Add that machine as an SSH node, or unset the variable'
        : 'Set it to unix:///path/of/docker.sock, or unset it',
    },
  )
}
