import type { IncomingMessage } from 'node:http'
import { AnyplaceError } from '../../spec/index.ts'
import type { CallOptions, Machine } from '../../spec/index.ts'
import { abortError } from '../../kit/deadline.ts'
import { readDockerConfig, registryLogin } from './docker-config.ts'
import type { RegistryLogin } from './docker-config.ts'
import { EngineApiError } from './engine-api.ts'
import { TITLES } from './connection.ts'
import type { Connection } from './connection.ts'
import type { ImageName } from './image-name.ts'

/** What an image tells about how it wants to run. */
export interface ImageFacts {
  readonly id: string
  /** Config.User; undefined when the image runs as root. */
  readonly user: string | undefined
}

export interface PullOptions extends CallOptions {
  readonly onProgress?: ((message: string) => void) | undefined
}

/** A registry may take a while before it says anything. */
const PULL_SILENCE_MS = 300_000

/**
 * The image, pulled when the engine does not have it.
 *
 * @throws AnyplaceError `image-not-found` with the reference and what the registry said
 */
export async function pullImage(
  machine: Machine,
  connection: Connection,
  image: ImageName,
  options: PullOptions = {},
): Promise<ImageFacts> {
  const present = await inspectImage(connection, image, options)
  if (present !== undefined) return present
  if (image.version === undefined) {
    throw notFound(connection, image, 'it is not on the engine, and an image id cannot be pulled')
  }
  const { homeDirectory } = await machine.facts(options)
  const login = registryLogin(await readDockerConfig(machine, homeDirectory, options), image.registry)
  options.onProgress?.(`pulling ${image.reference}`)
  try {
    const response = await connection.api.stream('POST', '/images/create', {
      query: { fromImage: image.repository, tag: image.version },
      ...(login.header === undefined ? {} : { headers: { 'X-Registry-Auth': login.header } }),
      signal: options.signal,
      silenceMs: PULL_SILENCE_MS,
    })
    await followPull(response, options)
  } catch (error) {
    if (options.signal?.aborted) throw abortError(options.signal)
    if (!(error instanceof EngineApiError)) throw error
    throw notFound(connection, image, error.message, login)
  }
  const pulled = await inspectImage(connection, image, options)
  if (pulled === undefined) throw notFound(connection, image, 'the pull ended but the image is not there')
  options.onProgress?.(`pulled ${image.reference}`)
  return pulled
}

async function inspectImage(
  { api }: Connection,
  image: ImageName,
  options: CallOptions,
): Promise<ImageFacts | undefined> {
  try {
    const answer = (await api.json('GET', `/images/${image.reference}/json`, { signal: options.signal })) as {
      readonly Id: string
      readonly Config?: { readonly User?: string | null } | null
    }
    return { id: answer.Id, user: answer.Config?.User || undefined }
  } catch (error) {
    if (error instanceof EngineApiError && error.statusCode === 404) return undefined
    throw error
  }
}

/** Reads the progress to its end. A failure after the pull began comes as a line of it. */
async function followPull(response: IncomingMessage, options: PullOptions): Promise<void> {
  let rest = ''
  let last = ''
  const take = (line: string): void => {
    if (line.trim() === '') return
    let entry: { readonly status?: string; readonly id?: string; readonly error?: string }
    try {
      entry = JSON.parse(line) as typeof entry
    } catch {
      return
    }
    if (entry.error) throw new EngineApiError(404, entry.error)
    const text = [entry.id, entry.status].filter(Boolean).join(': ')
    if (text !== '' && text !== last) options.onProgress?.((last = text))
  }
  for await (const chunk of response.setEncoding('utf8')) {
    const lines = (rest + (chunk as string)).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) take(line)
  }
  take(rest)
}

function notFound(connection: Connection, image: ImageName, why: string, login?: RegistryLogin): AnyplaceError {
  const reason = why.trim().replace(/\.$/, '').slice(0, 500)
  const unreachable = /no such host|dial tcp|connection refused|timeout|network is unreachable|TLS|certificate/i.test(
    reason,
  )
  const helper = login?.helper
  const { kind } = connection
  const hint =
    helper !== undefined
      ? `The login is kept by docker-credential-${helper}, which Anyplace does not run; pull it yourself: docker pull ${image.reference}`
      : unreachable
        ? `Check the network and the proxy of ${TITLES[kind]}, or load the image: ${kind} load`
        : `Check the spelling; for a private image: ${kind} login ${image.registry}`
  return new AnyplaceError('image-not-found', `Image ${JSON.stringify(image.reference)} is not to be had: ${reason}.`, {
    field: 'image',
    hint,
    retryable: unreachable,
  })
}
