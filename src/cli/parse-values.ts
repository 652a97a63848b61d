import { resolve } from 'node:path'
import type { Mount } from '../spec/index.ts'
import type { ValueSource } from './command.ts'
import { ValueFault } from './value-fault.ts'

/** Text as it is, but not empty. */
export function parseText(text: string): string {
  if (text === '') throw new ValueFault('"" is empty', 'some text')
  return text
}

/** CPUs: `0.5`, `2`. */
export function parseCpus(text: string): number {
  const cpus = /^\d+(\.\d+)?$|^\.\d+$/.test(text.trim()) ? Number(text) : Number.NaN
  if (!(cpus > 0)) throw new ValueFault(`${JSON.stringify(text)} is not a number of CPUs`, '0.5 or 2')
  return cpus
}

/** A whole number above 0. */
export function parseCount(text: string): number {
  const count = /^\d+$/.test(text.trim()) ? Number(text) : Number.NaN
  if (!(count > 0) || !Number.isSafeInteger(count)) {
    throw new ValueFault(`${JSON.stringify(text)} is not a whole number above 0`, '256')
  }
  return count
}

/** `NAME=VALUE`; `NAME` alone takes the value of our own environment. */
export function parseEnv(text: string, source: ValueSource): readonly [name: string, value: string] {
  const at = text.indexOf('=')
  const name = at < 0 ? text : text.slice(0, at)
  // The value may be a secret by mistake, so messages name the variable only.
  if (name === '') throw new ValueFault('the name is missing before "="', 'NAME=value')
  if (at >= 0) return [name, text.slice(at + 1)]
  const own = source.env[name]
  if (own === undefined) throw new ValueFault(`${JSON.stringify(name)} is not set in this environment`, `${name}=value`)
  return [name, own]
}

/** The name of a variable of our own environment; the value never stands in argv. */
export function parseSecret(text: string, source: ValueSource): readonly [name: string, value: string] {
  if (text.includes('=')) {
    const name = text.slice(0, text.indexOf('='))
    throw new ValueFault('takes a name only, because others can read the arguments of a process', name || 'API_TOKEN')
  }
  const own = text === '' ? undefined : source.env[text]
  if (own === undefined) {
    throw new ValueFault(
      `${JSON.stringify(text)} is not set in this environment, where the value is taken from`,
      text === '' ? 'API_TOKEN' : `${text}, after: export ${text}=…`,
    )
  }
  return [text, own]
}

/** `KEY=VALUE` or `KEY`. */
export function parseLabel(text: string): readonly [key: string, value: string] {
  const at = text.indexOf('=')
  const key = at < 0 ? text : text.slice(0, at)
  if (key === '') throw new ValueFault(`${JSON.stringify(text)} has no key`, 'team=vision')
  return [key, at < 0 ? '' : text.slice(at + 1)]
}

/** `SOURCE:TARGET[:ro|rw]`; read-only unless `rw`. A relative source is resolved here. */
export function parseMount(text: string, source: ValueSource): Mount {
  const example = './data:/data or ./data:/data:rw'
  const parts = text.split(':')
  const mode = parts.length === 3 ? parts[2] : 'ro'
  const [from, target] = parts
  if (parts.length < 2 || parts.length > 3 || !from || !target) {
    throw new ValueFault(`${JSON.stringify(text)} is not SOURCE:TARGET or SOURCE:TARGET:rw`, example)
  }
  if (mode !== 'ro' && mode !== 'rw') {
    throw new ValueFault(
      `${JSON.stringify(text)} ends with ${JSON.stringify(mode)}, which is neither ro nor rw`,
      example,
    )
  }
  if (!target.startsWith('/')) {
    throw new ValueFault(`${JSON.stringify(text)}: the target ${JSON.stringify(target)} is not absolute`, example)
  }
  return { source: resolve(source.cwd, from), target, writable: mode === 'rw' }
}

/** A directory of ours, absolute. */
export function parseLocalDirectory(text: string, source: ValueSource): string {
  if (text === '') throw new ValueFault('"" is empty', '.')
  return resolve(source.cwd, text)
}

/** `none` → no network but loopback. */
export function parseNetwork(text: string): false {
  if (text !== 'none') {
    throw new ValueFault(`${JSON.stringify(text)} is not known; leave the option out for a network`, 'none')
  }
  return false
}

/** `TERM`, `SIGTERM`, `15` are not the same to everyone, so names only. */
export function parseSignal(text: string): string {
  const name = text.toUpperCase().replace(/^(?!SIG)/, 'SIG')
  if (!/^SIG[A-Z][A-Z0-9]*$/.test(name))
    throw new ValueFault(`${JSON.stringify(text)} is not a signal's name`, 'TERM or INT')
  return name
}

export interface PortPair {
  /** 0: any free port. */
  readonly localPort: number
  readonly remotePort: number
}

/** `LOCAL:REMOTE`, or one number for both. */
export function parsePorts(text: string): PortPair {
  const match = /^(?:(\d{1,5}):)?(\d{1,5})$/.exec(text)
  const remotePort = Number(match?.[2])
  const localPort = match?.[1] === undefined ? remotePort : Number(match[1])
  if (match === null || remotePort < 1 || remotePort > 65_535 || localPort > 65_535) {
    throw new ValueFault(
      `${JSON.stringify(text)} is not LOCAL:REMOTE with ports from 1 to 65535`,
      '8080:80 (0:80 takes any free local port)',
    )
  }
  return { localPort, remotePort }
}
