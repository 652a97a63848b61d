import { AnyplaceError } from '../spec/index.ts'
import { suggest } from './suggest.ts'

/** Says what is wrong with a value that was given, as the end of a sentence that begins with the field's name. */
export type FieldCheck = (value: unknown) => string | undefined

const NUL = '\0'
const LABEL_KEY = /^[A-Za-z0-9](?:[A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?$/
const NAME = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/
const USER = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,63})?$/

/** Anything quoted for a message, cut to a length that can be read. */
export function shown(value: unknown): string {
  const text =
    typeof value === 'number' || value === undefined ? String(value) : (JSON.stringify(value) ?? typeof value)
  return text.length > 120 ? `${text.slice(0, 117)}...` : text
}

export const positiveNumber: FieldCheck = (value) =>
  typeof value === 'number' && Number.isFinite(value) && value > 0
    ? undefined
    : `must be a number above 0 (got ${shown(value)})`

export const wholeNumber: FieldCheck = (value) =>
  typeof value === 'number' && Number.isSafeInteger(value) && value > 0
    ? undefined
    : `must be a whole number above 0 (got ${shown(value)})`

export const flag: FieldCheck = (value) =>
  typeof value === 'boolean' ? undefined : `must be true or false (got ${shown(value)})`

export const absolutePath: FieldCheck = (value) => {
  if (typeof value !== 'string' || !value.startsWith('/')) return `must be an absolute path (got ${shown(value)})`
  return value.includes(NUL) ? 'must not contain NUL' : undefined
}

export const sandboxName: FieldCheck = (value) =>
  typeof value === 'string' && NAME.test(value)
    ? undefined
    : `must be 1 to 63 of a-z, 0-9 and -, not beginning or ending with - (got ${shown(value)})`

export const userName: FieldCheck = (value) =>
  typeof value === 'string' && USER.test(value)
    ? undefined
    : `must be "uid", "uid:gid", "name" or "name:group" (got ${shown(value)})`

/** Names and values of environment variables. Values are never shown, since they may be secrets. */
export const environment: FieldCheck = (value) => {
  if (Array.isArray(value)) throw vaultNames()
  if (!isRecord(value)) return `must be an object of names and values (got ${typeof value})`
  for (const [name, content] of Object.entries(value)) {
    if (name === '' || /[=\0]/.test(name)) return `has a name that no variable can have: ${shown(name)}`
    if (typeof content !== 'string')
      return `${shown(name)} must be a string (got ${content === null ? 'null' : typeof content})`
    if (content.includes(NUL)) return `${shown(name)} must not contain NUL`
  }
  return undefined
}

export const labels: FieldCheck = (value) => {
  if (!isRecord(value)) return `must be an object of keys and values (got ${shown(value)})`
  for (const [key, content] of Object.entries(value)) {
    if (!LABEL_KEY.test(key))
      return `has a key that is not allowed: ${shown(key)} (1 to 63 of A-Z, a-z, 0-9 and . _ / -)`
    if (/^anyplace(?:$|[._/-])/.test(key))
      return `has the key ${shown(key)}, but keys that begin with "anyplace" are reserved`
    if (typeof content !== 'string' || content.length > 1024 || content.includes(NUL)) {
      return `${shown(key)} must be a string of at most 1024 characters without NUL`
    }
  }
  return undefined
}

export const gpuRequest: FieldCheck = (value) => {
  if (!isRecord(value)) return `must be an object such as { type: "H100", count: 1 } (got ${shown(value)})`
  const { type, count } = value
  if (type !== undefined && (typeof type !== 'string' || !/^[A-Za-z0-9][A-Za-z0-9 _.-]{0,63}$/.test(type))) {
    return `type must be a GPU's name such as "H100" (got ${shown(type)})`
  }
  const fault = count === undefined ? undefined : wholeNumber(count)
  return fault === undefined ? unknownKey(value, ['type', 'count']) : `count ${fault}`
}

export const mounts: FieldCheck = (value) => {
  if (!Array.isArray(value)) return `must be a list of { source, target, writable } (got ${shown(value)})`
  const targets = new Set<string>()
  for (const [index, mount] of value.entries()) {
    const fault = isRecord(mount) ? mountFault(mount) : `must be { source, target, writable } (got ${shown(mount)})`
    if (fault !== undefined) return `[${index}] ${fault}`
    const target = String((mount as { target: unknown }).target).replace(/\/+$/, '')
    if (targets.has(target)) return `[${index}] target ${shown(target)} is mounted twice`
    targets.add(target)
  }
  return undefined
}

function mountFault(mount: Record<string, unknown>): string | undefined {
  for (const field of ['source', 'target'] as const) {
    const fault = absolutePath(mount[field])
    if (fault !== undefined) return `${field} ${fault}`
  }
  if (/^\/+$/.test(String(mount['target']))) return 'target must not be the root directory'
  if (String(mount['target']).split('/').includes('..'))
    return `target must not contain ".." (got ${shown(mount['target'])})`
  const fault = mount['writable'] === undefined ? undefined : flag(mount['writable'])
  return fault === undefined ? unknownKey(mount, ['source', 'target', 'writable']) : `writable ${fault}`
}

function unknownKey(value: Record<string, unknown>, known: readonly string[]): string | undefined {
  const wrong = Object.keys(value).find((key) => !known.includes(key))
  if (wrong === undefined) return undefined
  const meant = suggest(wrong, known)
  return `has the unknown key ${shown(wrong)}${meant ? ` (did you mean ${meant}?)` : ''}`
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function vaultNames(): AnyplaceError {
  return new AnyplaceError(
    'unsupported',
    'Cannot open a sandbox: secrets by name from the vault are not supported yet',
    {
      field: 'secrets',
      hint: 'give the values: { secrets: { NAME: value } }',
    },
  )
}
