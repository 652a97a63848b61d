const COMPONENT = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*'
const HOST = '(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\\[[0-9a-fA-F:]+\\])(?::[0-9]{1,5})?'
const REFERENCE = new RegExp(
  `^(?:${HOST}/)?${COMPONENT}(?:/${COMPONENT})*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[0-9a-fA-F]{32,})?$`,
)

/** What is wrong with an image reference such as `python:3.12-slim`; undefined when it is well formed. */
export function imageReferenceFault(reference: unknown): string | undefined {
  if (typeof reference !== 'string' || reference === '') return 'must be an image reference such as "python:3.12-slim"'
  if (reference.length > 512) return `is longer than 512 characters (got ${reference.length})`
  // A bare image id is what a build gives back.
  if (/^sha256:[0-9a-f]{64}$/.test(reference)) return undefined
  if (REFERENCE.test(reference)) return undefined
  const hint = /[A-Z]/.test(reference.replace(/[:@].*$/, '')) ? '; repository names are lower case' : ''
  return `must be an image reference such as "python:3.12-slim" (got ${JSON.stringify(reference)}${hint})`
}
