import { AnyplaceError } from '../../spec/index.ts'

/** A checked image reference, in the parts that the engine's pull takes. */
export interface ImageName {
  /** As it was given. */
  readonly reference: string
  /** Registry host, as `docker login` files its credentials: `docker.io`, `ghcr.io`, `localhost:5000`. */
  readonly registry: string
  /** Reference without tag and digest. */
  readonly repository: string
  /** Tag or digest; `latest` when neither was given. Undefined for a bare image id, which cannot be pulled. */
  readonly version: string | undefined
}

const COMPONENT = '[a-z0-9]+(?:(?:[.]|_{1,2}|-+)[a-z0-9]+)*'
const REGISTRY = '(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\\[[0-9A-Fa-f:]+\\])(?::[0-9]{1,5})?'
const REFERENCE = new RegExp(
  `^(?<repository>(?:(?<first>${REGISTRY})/)?${COMPONENT}(?:/${COMPONENT})*)` +
    `(?::(?<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(?<digest>sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}))?$`,
)
const IMAGE_ID = /^sha256:[0-9a-f]{64}$/

/**
 * Reads an image reference. It can never be taken for an option or another path of the API.
 *
 * @throws AnyplaceError `invalid-argument` when it is none
 */
export function parseImageName(reference: string): ImageName {
  if (IMAGE_ID.test(reference)) return { reference, registry: '', repository: reference, version: undefined }
  const groups = reference.length <= 512 ? REFERENCE.exec(reference)?.groups : undefined
  if (groups?.['repository'] === undefined) {
    throw new AnyplaceError('invalid-argument', `Not an image reference: ${JSON.stringify(reference.slice(0, 200))}.`, {
      field: 'image',
      hint: 'Write it as name:tag in lower case, such as "python:3.12-slim" or "ghcr.io/owner/name:1.0"',
    })
  }
  const { digest, first, repository, tag } = groups
  // The first part is a registry only when it cannot be a user's name on Docker Hub.
  const isRegistry = first !== undefined && (/[.:[]/.test(first) || first === 'localhost' || /[A-Z]/.test(first))
  return { reference, registry: isRegistry ? first : 'docker.io', repository, version: digest ?? tag ?? 'latest' }
}
