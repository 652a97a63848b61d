import { createHmac, timingSafeEqual } from 'node:crypto'
import { fingerprintOf } from './public-key.ts'

/** A host's public key. */
export interface HostKey {
  /** `ssh-ed25519`, `ecdsa-sha2-nistp256`, `ssh-rsa` … */
  readonly type: string
  /** In SSH wire form. */
  readonly blob: Uint8Array
  /** `SHA256:…` */
  readonly fingerprint: string
}

/** A line of a known_hosts file. */
export interface KnownHost extends HostKey {
  /** `revoked`: never to be taken; `cert-authority`: it signs the keys of hosts. */
  readonly marker: 'revoked' | 'cert-authority' | undefined
  /** Names and patterns as they stand there; one that begins with `|1|` is hashed. */
  readonly hosts: string
  /** From 1. */
  readonly lineNumber: number
}

/** The lines of a known_hosts file that hold a key; what is no such line is left out, as OpenSSH does. */
export function parseKnownHosts(text: string): readonly KnownHost[] {
  return text.split(/\r?\n/).flatMap((line, index) => parseLine(line, index + 1) ?? [])
}

function parseLine(line: string, lineNumber: number): KnownHost | undefined {
  const words = line.trim().split(/[ \t]+/)
  if (words[0]?.startsWith('#')) return undefined
  const mark = words[0]?.startsWith('@') ? words.shift()?.slice(1) : undefined
  const marker = mark === 'revoked' || mark === 'cert-authority' ? mark : undefined
  const [hosts = '', type = '', base64 = ''] = words
  if ((mark !== undefined && marker === undefined) || !/^[A-Za-z0-9+/]+=*$/.test(base64)) return undefined
  const blob = Buffer.from(base64, 'base64')
  // The key names its own type: one that differs is damaged.
  if (blob.length < 4 || blob.subarray(4, 4 + blob.readUInt32BE()).toString('latin1') !== type) return undefined
  return { marker, hosts, type, blob, fingerprint: fingerprintOf(blob), lineNumber }
}

/** The lines that are about a host, by the name that OpenSSH looks up: see {@link lookupName}. */
export function linesOf(known: readonly KnownHost[], name: string): readonly KnownHost[] {
  const wanted = name.toLowerCase()
  return known.filter(({ hosts }) => (hosts.startsWith('|') ? matchesHash(hosts, wanted) : matchesList(hosts, wanted)))
}

/** The name under which a host's key stands: `host`, or `[host]:port` for any port but 22. */
export function lookupName(host: string, port: number): string {
  return port === 22 ? host.toLowerCase() : `[${host.toLowerCase()}]:${port}`
}

function matchesHash(hosts: string, name: string): boolean {
  const [, version, salt = '', hash = ''] = hosts.split('|')
  if (version !== '1') return false
  const expected = Buffer.from(hash, 'base64')
  const actual = createHmac('sha1', Buffer.from(salt, 'base64')).update(name).digest()
  return expected.length === actual.length && timingSafeEqual(expected, actual)
}

/** Patterns with `*` and `?`; one with `!` in front takes the line away. */
function matchesList(hosts: string, name: string): boolean {
  let isFound = false
  for (const pattern of hosts.toLowerCase().split(',')) {
    const isNegated = pattern.startsWith('!')
    if (!matchesPattern(isNegated ? pattern.slice(1) : pattern, name)) continue
    if (isNegated) return false
    isFound = true
  }
  return isFound
}

/** Without backtracking beyond the last star, so that no pattern of a hostile file takes long. */
function matchesPattern(pattern: string, name: string): boolean {
  let at = 0
  let star = -1
  let restart = 0
  let index = 0
  while (index < name.length) {
    if (pattern[at] === '*') {
      star = at++
      restart = index
    } else if (at < pattern.length && (pattern[at] === '?' || pattern[at] === name[index])) {
      at++
      index++
    } else if (star >= 0) {
      at = star + 1
      index = ++restart
    } else return false
  }
  while (pattern[at] === '*') at++
  return at === pattern.length
}
