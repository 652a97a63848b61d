import { AnyplaceError, ERROR_CODES } from '../spec/index.ts'
import type { ErrorCode, ExitStatus } from '../spec/index.ts'
import type { ExitEvent, HelloPayload, ProcessRecord, StatsPayload, WireFileInfo } from './protocol.ts'
import { PROTOCOL_VERSION } from './protocol.ts'
import { protocolError } from './frames.ts'
import { parseWireJson } from './wire-json.ts'
import { printable } from './printable.ts'

/** An object as it came: nothing in it is believed before a check. */
export type Untrusted = Readonly<Record<string, unknown>>

const MAX_PATH_CHARACTERS = 64 * 1024
const MAX_ARGV_CHARACTERS = 8 * 1024 * 1024
const DATA_KEY = /^[a-zA-Z][a-zA-Z0-9]{0,31}$/
const MAX_DATA_KEYS = 16
const MAX_ID = 0xffff_ffff

export function asObject(value: unknown, what: string): Untrusted {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Untrusted
  throw protocolError(`${what} is ${kind(value)}, not an object.`)
}

export function asArray(value: unknown, what: string): readonly unknown[] {
  if (Array.isArray(value)) return value as readonly unknown[]
  throw protocolError(`${what} is ${kind(value)}, not a list.`)
}

export function asInteger(
  object: Untrusted,
  field: string,
  what: string,
  min = 0,
  max = Number.MAX_SAFE_INTEGER,
): number {
  const value = own(object, field)
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= min && value <= max) return value
  throw protocolError(`${what}.${field} is ${kind(value)}, not a whole number from ${min} to ${max}.`)
}

export function asNumber(object: Untrusted, field: string, what: string): number {
  const value = own(object, field)
  if (typeof value === 'number' && Number.isFinite(value) && value >= 0) return value
  throw protocolError(`${what}.${field} is ${kind(value)}, not a number of 0 or more.`)
}

export function asText(object: Untrusted, field: string, what: string, maxLength: number): string {
  const value = own(object, field)
  if (typeof value === 'string' && value.length <= maxLength) return value
  throw protocolError(`${what}.${field} is ${kind(value)}, not a text of at most ${maxLength} characters.`)
}

export function asBoolean(object: Untrusted, field: string, what: string): boolean {
  const value = own(object, field)
  if (typeof value === 'boolean') return value
  throw protocolError(`${what}.${field} is ${kind(value)}, not true or false.`)
}

export function asOneOf<T extends string>(object: Untrusted, field: string, what: string, allowed: readonly T[]): T {
  const value = own(object, field)
  const found = allowed.find((one) => one === value)
  if (found !== undefined) return found
  throw protocolError(`${what}.${field} is ${kind(value)}, not one of ${allowed.join(', ')}.`)
}

/** Inherited members are not fields: `toString` of a hostile object must not pass for one. */
export function own(object: Untrusted, field: string): unknown {
  return Object.hasOwn(object, field) ? object[field] : undefined
}

function kind(value: unknown): string {
  if (value === undefined) return 'missing'
  if (value === null) return 'null'
  if (Array.isArray(value)) return `a list of ${value.length}`
  if (typeof value === 'string') return `the text ${JSON.stringify(printable(value, 60))} of ${value.length} characters`
  if (typeof value === 'object') return 'an object'
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : typeof value
}

export function parseHello(payload: Uint8Array): HelloPayload {
  const what = 'hello'
  const hello = asObject(parseWireJson(payload, what), what)
  const version = asInteger(hello, 'version', what, 0, 0xffff_ffff)
  if (version !== PROTOCOL_VERSION) {
    throw protocolError(
      `The exec daemon speaks version ${version} of the protocol; this client speaks version ${PROTOCOL_VERSION}.`,
      version > PROTOCOL_VERSION
        ? 'the sandbox was opened by a newer Anyplace: upgrade this one, or open a new sandbox'
        : 'the sandbox was opened by an older Anyplace: open a new sandbox, or use that version',
    )
  }
  return {
    version,
    sandboxId: printable(asText(hello, 'sandboxId', what, 256), 128),
    workdir: asText(hello, 'workdir', what, MAX_PATH_CHARACTERS),
    killLevel: asOneOf(hello, 'killLevel', what, ['exact', 'lineage'] as const),
    python: printable(asText(hello, 'python', what, 256), 64),
    pid: asInteger(hello, 'pid', what),
    expiresAtMs: asNumber(hello, 'expiresAtMs', what),
    ...(own(hello, 'slots') === undefined ? {} : { slots: checkSlotPowers(hello['slots']) }),
  }
}

function checkSlotPowers(value: unknown): NonNullable<HelloPayload['slots']> {
  const what = 'hello.slots'
  const slots = asObject(value, what)
  const reason = (level: string): string | null =>
    own(slots, level) === null ? null : printable(asText(slots, level, what, SMALL_TEXT), 500)
  const uids = asObject(own(slots, 'uids'), `${what}.uids`)
  return {
    user: reason('user'),
    namespace: reason('namespace'),
    uids: {
      first: asInteger(uids, 'first', `${what}.uids`, 0, MAX_ID),
      count: asInteger(uids, 'count', `${what}.uids`, 0, MAX_ID),
    },
    own: asBoolean(slots, 'own', what),
  }
}

/** The error that a response or reset carries, with a code of our table and a message fit for a terminal. */
export function parseWireError(value: unknown, what: string): AnyplaceError {
  const error = asObject(value, what)
  const code = asText(error, 'code', what, 64)
  const message = printable(asText(error, 'message', what, SMALL_TEXT), 2000)
  const hint = own(error, 'hint') === undefined ? undefined : printable(asText(error, 'hint', what, SMALL_TEXT), 500)
  const data = own(error, 'data') === undefined ? undefined : safeData(asObject(error['data'], `${what}.data`))
  if (!Object.hasOwn(ERROR_CODES, code)) {
    return new AnyplaceError(
      'protocol-error',
      `The exec daemon failed with the unknown code ${JSON.stringify(printable(code, 64))}: ${message}`,
      {
        hint,
        data,
      },
    )
  }
  return new AnyplaceError(code as ErrorCode, message || `The exec daemon failed with ${code}.`, { hint, data })
}

const SMALL_TEXT = 64 * 1024

function safeData(object: Untrusted): Record<string, string | number | boolean> {
  const data: Record<string, string | number | boolean> = {}
  for (const key of Object.keys(object).slice(0, MAX_DATA_KEYS)) {
    const value = object[key]
    if (!DATA_KEY.test(key)) continue
    if (typeof value === 'boolean' || (typeof value === 'number' && Number.isFinite(value))) data[key] = value
    else if (typeof value === 'string') data[key] = printable(value, 4096)
  }
  return data
}

export function checkExit(value: unknown, what: string): ExitEvent {
  const exit = asObject(value, what)
  const signal = own(exit, 'signal')
  if (signal !== null && (typeof signal !== 'string' || !/^[A-Z0-9+_-]{1,24}$/.test(signal))) {
    throw protocolError(`${what}.signal is ${kind(signal)}, not null or the name of a signal.`)
  }
  return {
    exitCode: asInteger(exit, 'exitCode', what, 0, 255),
    signal,
    timedOut: asBoolean(exit, 'timedOut', what),
    oomKilled: asBoolean(exit, 'oomKilled', what),
    durationMs: asNumber(exit, 'durationMs', what),
    stdoutBytes: asInteger(exit, 'stdoutBytes', what),
    stderrBytes: asInteger(exit, 'stderrBytes', what),
  }
}

/** The part of an exit event that users see. */
export function exitStatus(exit: ExitEvent): ExitStatus {
  const { exitCode, signal, timedOut, oomKilled, durationMs } = exit
  return { exitCode, signal, timedOut, oomKilled, durationMs }
}

export interface Started {
  readonly processId: string
  readonly pid: number
  readonly existing: boolean
}

export function checkStarted(value: unknown, what: string): Started {
  const response = asObject(value, what)
  return {
    processId: checkProcessId(response, what),
    pid: asInteger(response, 'pid', what),
    existing: own(response, 'existing') === undefined ? false : asBoolean(response, 'existing', what),
  }
}

export interface Attached extends Started {
  readonly argv: readonly string[]
  readonly pty: boolean
  readonly fromOffset: { readonly stdout: number; readonly stderr: number }
}

export function checkAttached(value: unknown): Attached {
  const what = 'the response to attach'
  const response = asObject(value, what)
  return {
    ...checkStarted(value, what),
    argv: checkArgv(response, what),
    pty: asBoolean(response, 'pty', what),
    fromOffset: {
      stdout: asInteger(response, 'fromStdout', what),
      stderr: asInteger(response, 'fromStderr', what),
    },
  }
}

function checkProcessId(object: Untrusted, what: string): string {
  const id = asText(object, 'processId', what, 128)
  if (!/^[A-Za-z0-9._:-]+$/.test(id)) throw protocolError(`${what}.processId is ${kind(id)}, not an id.`)
  return id
}

function checkArgv(object: Untrusted, what: string): readonly string[] {
  const argv = asArray(own(object, 'argv'), `${what}.argv`)
  for (const word of argv) {
    if (typeof word !== 'string' || word.length > MAX_ARGV_CHARACTERS)
      throw protocolError(`${what}.argv holds ${kind(word)}, not a text.`)
  }
  return argv as readonly string[]
}

export function checkProcesses(value: unknown): readonly ProcessRecord[] {
  const what = 'the response to processes'
  return asArray(value, what).map((one) => {
    const record = asObject(one, `${what}[]`)
    const exit = own(record, 'exit')
    return {
      processId: checkProcessId(record, what),
      pid: asInteger(record, 'pid', what),
      argv: checkArgv(record, what),
      startedAtMs: asNumber(record, 'startedAtMs', what),
      ...(exit === undefined || exit === null ? {} : { exit: checkExit(exit, `${what}[].exit`) }),
    }
  })
}

export function checkFileInfo(value: unknown, what: string): WireFileInfo {
  const info = asObject(value, what)
  return {
    path: asText(info, 'path', what, MAX_PATH_CHARACTERS),
    type: asOneOf(info, 'type', what, ['file', 'directory', 'symlink', 'other'] as const),
    size: asInteger(info, 'size', what),
    mode: asInteger(info, 'mode', what, 0, 0o7777),
    // Times before 1970 are negative.
    mtimeMs: asSigned(info, 'mtimeMs', what),
    uid: asInteger(info, 'uid', what),
    gid: asInteger(info, 'gid', what),
    ...(own(info, 'target') === undefined ? {} : { target: asText(info, 'target', what, MAX_PATH_CHARACTERS) }),
  }
}

function asSigned(object: Untrusted, field: string, what: string): number {
  const value = own(object, field)
  // What a Date can hold; beyond it every use of the date would throw in the caller's hands.
  if (typeof value === 'number' && Math.abs(value) <= 8.64e15) return value
  throw protocolError(`${what}.${field} is ${kind(value)}, not a time.`)
}

export function checkStats(value: unknown): StatsPayload {
  const what = 'the response to stats'
  const stats = asObject(value, what)
  const limit = own(stats, 'memoryLimitBytes')
  return {
    cpuSeconds: asNumber(stats, 'cpuSeconds', what),
    memoryBytes: asNumber(stats, 'memoryBytes', what),
    ...(limit === undefined || limit === null ? {} : { memoryLimitBytes: asNumber(stats, 'memoryLimitBytes', what) }),
    processes: asInteger(stats, 'processes', what),
    diskUsedBytes: asNumber(stats, 'diskUsedBytes', what),
    diskTotalBytes: asNumber(stats, 'diskTotalBytes', what),
    daemonMemoryBytes: asNumber(stats, 'daemonMemoryBytes', what),
  }
}
