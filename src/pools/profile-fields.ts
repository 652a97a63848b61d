import { DURATION_FROM_ENV, checks, parsers } from './profile-checks.ts'
import type { FieldCheck, FieldParser } from './profile-checks.ts'
import type { PoolProfile } from './profile.ts'

/** One field of a profile: its default, its spellings and how a value of it is read and checked. */
export interface ProfileField {
  readonly default: unknown
  /** The name in the reference's files and, in capitals, in the environment. */
  readonly key: string
  /** Files in the reference's spelling give times in seconds; ours is in milliseconds. */
  readonly seconds?: true
  /** What a value of a file or an object becomes; throws a text that completes "FIELD …". */
  readonly check: FieldCheck
  /** The same for the text of an environment variable. */
  readonly parse: FieldParser
  /** An empty environment variable means "none" here and is a fault elsewhere. */
  readonly mayBeEmpty?: true
}

type FieldName = Exclude<keyof PoolProfile, 'name'>

function time(key: string, defaultMs: number): ProfileField {
  return { default: defaultMs, key, seconds: true, check: checks.positive, parse: DURATION_FROM_ENV }
}

/** Every field of {@link PoolProfile}, in the order in which they are shown. */
export const PROFILE_FIELDS: Readonly<Record<FieldName, ProfileField>> = {
  appName: { default: 'anyplace', key: 'app_name', check: checks.namePart, parse: parsers.text(checks.namePart) },
  on: { default: undefined, key: 'on', check: checks.text, parse: parsers.text(checks.text) },
  image: { default: 'python:3.11', key: 'image', check: checks.text, parse: parsers.text(checks.text) },
  gpu: { default: undefined, key: 'gpu', check: checks.gpu, parse: parsers.text(checks.gpu), mayBeEmpty: true },
  cpu: { default: 1, key: 'cpu', check: checks.positive, parse: parsers.number(checks.positive) },
  memoryMiB: { default: 2048, key: 'memory', check: checks.count, parse: parsers.number(checks.count) },
  slotsPerSandbox: {
    default: 10,
    key: 'slots_per_sandbox',
    check: checks.slotCount,
    parse: parsers.number(checks.slotCount),
  },
  minSandboxes: {
    default: 1,
    key: 'min_sandboxes',
    check: checks.countOrNone,
    parse: parsers.number(checks.countOrNone),
  },
  maxSandboxes: { default: 5, key: 'max_sandboxes', check: checks.count, parse: parsers.number(checks.count) },
  idleTimeoutMs: time('idle_timeout', 120_000),
  maxLifetimeMs: time('max_lifetime', 3_600_000),
  acquireTimeoutMs: time('acquire_timeout_s', 60_000),
  executionTimeoutMs: time('execution_timeout_s', 30_000),
  secrets: { default: [], key: 'secrets', check: checks.names, parse: parsers.names, mayBeEmpty: true },
  env: { default: {}, key: 'env_vars', check: checks.env, parse: parsers.env, mayBeEmpty: true },
  workspaceBase: {
    default: '/data',
    key: 'workspace_base',
    check: checks.directory,
    parse: parsers.text(checks.directory),
  },
  isolation: {
    default: 'user',
    key: 'isolation',
    check: checks.oneOf('user', 'namespace'),
    parse: parsers.text(checks.oneOf('user', 'namespace')),
  },
  reset: {
    default: 'clean',
    key: 'reset',
    check: checks.oneOf('clean', 'template', 'none'),
    parse: parsers.text(checks.oneOf('clean', 'template', 'none')),
  },
  template: { default: undefined, key: 'template', check: checks.directory, parse: parsers.text(checks.directory) },
  processLimit: { default: 256, key: 'process_limit', check: checks.count, parse: parsers.number(checks.count) },
  diskMiB: { default: undefined, key: 'disk', check: checks.count, parse: parsers.number(checks.count) },
  network: { default: true, key: 'network', check: checks.flag, parse: parsers.flag },
  maxStarting: { default: 4, key: 'max_starting', check: checks.count, parse: parsers.number(checks.count) },
  createPerSecond: {
    default: 4,
    key: 'create_per_second',
    check: checks.positive,
    parse: parsers.number(checks.positive),
  },
}

/** The variable's last part: `IDLE_TIMEOUT`, `ACQUIRE_TIMEOUT` (which the reference spells without its `_s`). */
export function environmentKey(field: ProfileField): string {
  return field.key.replace(/_s$/, '').toUpperCase()
}

/** The fields and what each is, with their names typed. */
export function profileFields(): readonly (readonly [FieldName, ProfileField])[] {
  return Object.entries(PROFILE_FIELDS) as [FieldName, ProfileField][]
}

export type { FieldName }
