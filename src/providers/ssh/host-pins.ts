import { randomBytes } from 'node:crypto'
import { appendFileSync, chmodSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { errnoOf, fileError } from '../../kit/file-error.ts'
import { ensurePrivateDirectory } from '../../store/state-directory.ts'
import { linesOf, parseKnownHosts } from './known-hosts.ts'
import type { HostKey, KnownHost } from './known-hosts.ts'

/** Our own known_hosts file: keys of hosts that the user has trusted. OpenSSH reads it, and writes it for `accept-new`. */

/** @throws AnyplaceError when it is there and cannot be read: nothing is taken for unknown then */
export function readPins(path: string): readonly KnownHost[] {
  return parseKnownHosts(readText(path))
}

/** Pins keys under the name that OpenSSH looks up. Those that are pinned already stay as they are. */
export function addPins(path: string, name: string, keys: readonly HostKey[]): void {
  ensurePrivateDirectory(dirname(path))
  const text = readText(path)
  const there = linesOf(parseKnownHosts(text), name)
  const fresh = keys.filter(({ fingerprint }) => !there.some((pin) => !pin.marker && pin.fingerprint === fingerprint))
  if (fresh.length === 0) return
  const lines = fresh.map(({ type, blob }) => `${name} ${type} ${Buffer.from(blob).toString('base64')}\n`)
  try {
    // One write at the end of the file: another process that pins at the same time loses nothing.
    appendFileSync(path, `${text === '' || text.endsWith('\n') ? '' : '\n'}${lines.join('')}`, { mode: 0o600 })
    chmodSync(path, 0o600)
  } catch (error) {
    throw fileError(error, 'pin host keys in', path)
  }
}

/** Removes every line about a host and gives them. */
export function removePins(path: string, name: string): readonly KnownHost[] {
  const text = readText(path)
  const removed = linesOf(parseKnownHosts(text), name)
  if (removed.length === 0) return removed
  const numbers = new Set(removed.map(({ lineNumber }) => lineNumber))
  const kept = text.split('\n').filter((_, index) => !numbers.has(index + 1))
  const fresh = `${path}.${randomBytes(4).toString('hex')}`
  try {
    writeFileSync(fresh, kept.join('\n'), { mode: 0o600, flag: 'wx' })
    renameSync(fresh, path)
  } catch (error) {
    rmSync(fresh, { force: true })
    throw fileError(error, 'remove host keys from', path)
  }
  return removed
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return ''
    throw fileError(error, 'read', path)
  }
}
