import type { GpuRequest } from '../spec/index.ts'

/** Gives the value as the profile holds it; throws a {@link ProfileFault} that completes "FIELD …". */
export type FieldCheck = (value: unknown) => unknown
/** The same for text of the environment. */
export type FieldParser = (text: string) => unknown

/** What is wrong with a value, as the end of a sentence that begins with the field's name. */
export class ProfileFault extends Error {}

const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]*$/
const NAME_PART = /^[a-z0-9](?:[a-z0-9-]{0,26}[a-z0-9])?$/
const MAX_SLOTS = 256

function fault(text: string, value: unknown): never {
  const shown = JSON.stringify(value) ?? String(value)
  throw new ProfileFault(`${text} (got ${shown.length > 120 ? `${shown.slice(0, 117)}...` : shown})`)
}

function number(value: unknown, holds: (value: number) => boolean, what: string): number {
  if (typeof value !== 'number' || !Number.isFinite(value) || !holds(value)) fault(`must be ${what}`, value)
  return value
}

/** One check for each kind of value. */
export const checks = {
  text: (value: unknown): string => {
    if (typeof value !== 'string' || value === '' || value.includes('\0')) fault('must be text', value)
    return value
  },
  namePart: (value: unknown): string => {
    if (typeof value !== 'string' || !NAME_PART.test(value)) {
      fault('must be 1 to 28 of a-z, 0-9 and -, not beginning or ending with -', value)
    }
    return value
  },
  directory: (value: unknown): string => {
    if (typeof value !== 'string' || !/^\/[^\0]+$/.test(value) || value.split('/').includes('..')) {
      fault('must be an absolute path other than /, without ".."', value)
    }
    return value.replace(/\/+$/, '')
  },
  positive: (value: unknown): number => number(value, (it) => it > 0, 'a number above 0'),
  count: (value: unknown): number =>
    number(value, (it) => Number.isSafeInteger(it) && it > 0, 'a whole number above 0'),
  countOrNone: (value: unknown): number =>
    number(value, (it) => Number.isSafeInteger(it) && it >= 0, 'a whole number from 0'),
  slotCount: (value: unknown): number =>
    number(
      value,
      (it) => Number.isSafeInteger(it) && it > 0 && it <= MAX_SLOTS,
      `a whole number from 1 to ${MAX_SLOTS}`,
    ),
  flag: (value: unknown): boolean => (typeof value === 'boolean' ? value : fault('must be true or false', value)),
  oneOf:
    (...choices: readonly string[]): FieldCheck =>
    (value) =>
      choices.includes(value as string) ? value : fault(`must be one of ${choices.join(', ')}`, value),
  gpu: (value: unknown): GpuRequest | undefined => {
    if (value === null || value === '') return undefined
    if (typeof value === 'string') {
      const [type, count = '1', more] = value.split(':')
      if (!type || more !== undefined || !/^[1-9]\d{0,2}$/.test(count))
        fault('must be a GPU such as T4 or H100:2', value)
      return { type, count: Number(count) }
    }
    const { type, count = 1, ...rest } = record(value, 'must be a GPU such as T4 or H100:2')
    if (Object.keys(rest).length > 0 || (type !== undefined && typeof type !== 'string'))
      fault('must have a type and a count', value)
    return { ...(type === undefined ? {} : { type }), count: checks.count(count) }
  },
  names: (value: unknown): readonly string[] => {
    if (!Array.isArray(value)) fault('must be a list of names', value)
    for (const name of value as readonly unknown[]) {
      if (typeof name !== 'string' || name.trim() === '') fault('must be a list of names', name)
    }
    return [...(value as readonly string[])]
  },
  /** Values are never shown: they may be secrets by mistake. */
  env: (value: unknown): Readonly<Record<string, string>> => {
    const entries = Object.entries(record(value, 'must be names and values'))
    return Object.fromEntries(
      entries.map(([name, content]) => {
        if (!VARIABLE.test(name)) fault('has a name that is no variable name', name)
        const isPlain = typeof content === 'string' || typeof content === 'number' || typeof content === 'boolean'
        if (!isPlain) throw new ProfileFault(`${name} must be text, a number, true or false (got ${typeof content})`)
        if (String(content).includes('\0')) throw new ProfileFault(`${name} must not contain NUL`)
        return [name, String(content)]
      }),
    )
  },
} as const

/** How the text of a variable is read. */
export const parsers = {
  text:
    (check: FieldCheck): FieldParser =>
    (text) =>
      check(text.trim()),
  number:
    (check: FieldCheck): FieldParser =>
    (text) =>
      /^[+-]?(?:\d+\.?\d*|\.\d+)$/.test(text.trim()) ? check(Number(text)) : fault('must be a number', text),
  flag: (text: string): boolean => {
    if (/^(?:1|true|yes)$/i.test(text.trim())) return true
    return /^(?:0|false|no)$/i.test(text.trim()) ? false : fault('must be true or false', text)
  },
  /** `a, b` */
  names: (text: string): readonly string[] => checks.names(splitOn(text, ',')),
  /** `A=1;B=2`; the reference has no way to write a `;` in a value, here `\;` is one. */
  env: (text: string): Readonly<Record<string, string>> => {
    const pairs = text
      .split(/(?<!\\);/)
      .map((pair) => pair.replaceAll('\\;', ';'))
      .filter((pair) => pair.trim() !== '')
    return checks.env(
      Object.fromEntries(
        pairs.map((pair) => {
          const at = pair.indexOf('=')
          if (at < 0) throw new ProfileFault('must be NAME=value pairs with ";" between them')
          return [pair.slice(0, at).trim(), pair.slice(at + 1).trim()]
        }),
      ),
    )
  },
} as const

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }

/** `90` is seconds, as in the reference; `90s`, `2m`, `500ms` and `1h` say so themselves. Gives milliseconds. */
export const DURATION_FROM_ENV: FieldParser = (text) => {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(text.trim())
  if (match === null) fault('must be seconds, or a duration such as 90s, 2m or 500ms', text)
  return checks.positive(Number(match[1]) * (UNIT_MS[match[2] ?? 's'] ?? Number.NaN))
}

function splitOn(text: string, mark: string): string[] {
  return text
    .split(mark)
    .map((part) => part.trim())
    .filter((part) => part !== '')
}

function record(value: unknown, text: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) fault(text, value)
  return value as Record<string, unknown>
}
