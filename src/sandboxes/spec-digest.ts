import { createHash, randomBytes } from 'node:crypto'
import type { SandboxSpec } from '../spec/index.ts'
import { SPEC_FIELDS } from './open-options.ts'

const VERSION = 'v1'
const HASH_DIGITS = 16

/**
 * What was given of a spec, as one opaque line: `v1:SALT:field=HASH,…`. Hashes are salted per sandbox, so that the line
 * tells neither values of the environment nor whether two sandboxes share one. One hash a field lets a conflict name
 * the fields.
 */
export function specDigest(spec: SandboxSpec, salt: string = randomBytes(16).toString('hex')): string {
  const parts = SPEC_FIELDS.filter((field) => spec[field] !== undefined).map((field) => {
    const hash = createHash('sha256')
      .update(`${salt}\0${field}\0${canonicalJson(spec[field])}`)
      .digest('hex')
    return `${field}=${hash.slice(0, HASH_DIGITS)}`
  })
  return `${VERSION}:${salt}:${parts.join(',')}`
}

/**
 * Names of the fields in which a spec differs from the one that a digest was made of; empty when they are the same.
 * Undefined when the digest was not written by this version.
 */
export function changedFields(spec: SandboxSpec, digest: string): readonly string[] | undefined {
  const [version, salt, fields, ...rest] = digest.split(':')
  if (version !== VERSION || !salt || fields === undefined || rest.length > 0) return undefined
  const mine = hashes(specDigest(spec, salt).split(':')[2] ?? '')
  const theirs = hashes(fields)
  const names = new Set([...mine.keys(), ...theirs.keys()])
  return [...names].filter((name) => mine.get(name) !== theirs.get(name)).sort()
}

/** JSON with sorted keys and without what is undefined, so that equal values give equal text. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))
      : inner,
  )
}

function hashes(fields: string): Map<string, string> {
  return new Map(
    fields
      .split(',')
      .filter((part) => part !== '')
      .map((part) => {
        const at = part.indexOf('=')
        return [part.slice(0, at), part.slice(at + 1)] as const
      }),
  )
}
