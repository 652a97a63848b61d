import { join } from 'node:path'
import { readFileSync } from 'node:fs'
import { quoteShell } from '../../kit/quote.ts'
import { AnyplaceError } from '../../spec/index.ts'
import type { CallOptions } from '../../spec/index.ts'
import { addPins, readPins, removePins } from '../../providers/ssh/host-pins.ts'
import { linesOf, lookupName, parseKnownHosts } from '../../providers/ssh/known-hosts.ts'
import type { HostKey, KnownHost } from '../../providers/ssh/known-hosts.ts'
import { stateDirectory } from '../../store/state-directory.ts'
import type { StateOptions, VaultOptions } from '../state.ts'
import { findTarget } from './find-target.ts'

/** One key of a host, for people. */
export interface HostKeyInfo {
  /** `ssh-ed25519`, `ecdsa-sha2-nistp256`, `ssh-rsa` … */
  readonly type: string
  /** `SHA256:…` as `ssh-keygen -l` prints it. */
  readonly fingerprint: string
}

/** A host key that Anyplace trusts. */
export interface PinnedHostKey extends HostKeyInfo {
  /** As OpenSSH looks it up: `host`, or `[host]:port`. */
  readonly host: string
}

/** What a host shows, beside what is known of it. */
export interface HostScan {
  /** As OpenSSH looks it up: `host`, or `[host]:port`. */
  readonly host: string
  readonly keys: readonly HostKeyInfo[]
  /** What Anyplace has pinned for it already. */
  readonly pinned: readonly HostKeyInfo[]
  /** Which of the keys stand in the user's own known_hosts files, by fingerprint. */
  readonly knownToSsh: readonly string[]
}

export interface TrustHostOptions extends CallOptions, VaultOptions {
  /** Only a key with this fingerprint is pinned: `SHA256:…`, from the owner of the host. */
  readonly fingerprint?: string | undefined
  /** Decides over what the host shows; not asked when a fingerprint is given or nothing new is shown. */
  readonly confirm?: ((scan: HostScan) => boolean | Promise<boolean>) | undefined
}

/** What was done about a host. */
export interface TrustedHost {
  readonly host: string
  /** Keys pinned now. Empty when the host was trusted already. */
  readonly added: readonly HostKeyInfo[]
}

/**
 * Connects to a host as far as its keys, and pins them so that connections can be made. Nothing of the user is sent.
 *
 * @param host a node of type ssh, or `host`, `host:port`, `user@host:port`
 * @throws AnyplaceError `permission-denied` when the host shows another key than the pinned one (cause `host-key-changed`),
 * one that is revoked, or not the one with the fingerprint given; `cancelled` when `confirm` said no; `invalid-argument`
 * when there is neither a fingerprint nor `confirm`; what connecting fails with
 */
export async function trustHost(host: string, options: TrustHostOptions = {}): Promise<TrustedHost> {
  const { fingerprint, confirm, signal } = options
  const wanted = fingerprint === undefined ? undefined : checkedFingerprint(fingerprint)
  const target = await findTarget(host, options)
  const { scanHostKeys } = await import('../../providers/ssh/scan-host-keys.ts')
  const { name, keys, knownHostsFiles } = await scanHostKeys(target, { signal })
  const path = pinsPath(options)
  const pins = linesOf(readPins(path), name)
  const files = knownHostsFiles.flatMap((file) => linesOf(parseKnownHosts(readOther(file)), name))
  refuseRevoked(name, keys, [...pins, ...files])
  refuseChanged(name, keys, pins, `anyplace hosts rm ${host}, then trust it again`)
  // The owner's own word counts for more than what the user's ssh remembers.
  if (wanted === undefined) refuseChanged(name, keys, files, `ssh-keygen -R ${quoteShell(name)}, then trust it`)
  const accepted = wanted === undefined ? keys : keys.filter((key) => key.fingerprint === wanted)
  if (accepted.length === 0) throw otherFingerprint(name, wanted ?? '', keys)
  const added = accepted.filter((key) => !pins.some((pin) => pin.fingerprint === key.fingerprint))
  if (added.length > 0 && wanted === undefined) {
    if (confirm === undefined) {
      throw new AnyplaceError('invalid-argument', `Nobody has confirmed the keys of ${name}: ${listing(keys)}.`, {
        field: 'fingerprint',
        hint: 'compare them with the host itself, and give the right one: --fingerprint SHA256:…',
      })
    }
    const known = keys.filter((key) => files.some((line) => line.fingerprint === key.fingerprint))
    const scan: HostScan = {
      host: name,
      keys: keys.map(info),
      pinned: pins.map(info),
      knownToSsh: known.map((key) => key.fingerprint),
    }
    if (!(await confirm(scan))) {
      throw new AnyplaceError('cancelled', `The keys of ${name} were not confirmed; nothing was pinned.`)
    }
  }
  addPins(path, name, added)
  return { host: name, added: added.map(info) }
}

/** Every host key that Anyplace has pinned. */
export function listHosts(options: StateOptions = {}): Promise<PinnedHostKey[]> {
  const pins = readPins(pinsPath(options))
  return Promise.resolve(pins.map((pin) => ({ host: pin.hosts, type: pin.type, fingerprint: pin.fingerprint })))
}

/**
 * Forgets the pinned keys of a host; the next connection is refused until it is trusted again.
 *
 * @param host a node, a host, or a name as `listHosts` gives it
 * @throws AnyplaceError `not-found` when nothing is pinned for it
 */
export async function untrustHost(host: string, options: VaultOptions & CallOptions = {}): Promise<PinnedHostKey[]> {
  const path = pinsPath(options)
  const isListed = readPins(path).some((pin) => pin.hosts === host)
  const name = isListed ? host : await nameOf(host, options)
  const removed = removePins(path, name)
  if (removed.length > 0) return removed.map(({ type, fingerprint }) => ({ host: name, type, fingerprint }))
  throw new AnyplaceError('not-found', `No key of ${name} is pinned.`, {
    field: 'host',
    hint: 'see what is: anyplace hosts list',
  })
}

/** What OpenSSH looks up for a host, without connecting to it. */
async function nameOf(host: string, options: VaultOptions & CallOptions): Promise<string> {
  const target = await findTarget(host, options)
  const [{ resolveTarget }, { checkTarget }] = await Promise.all([
    import('../../providers/ssh/ssh-config.ts'),
    import('../../providers/ssh/check-target.ts'),
  ])
  checkTarget(target)
  const { hostname, port, lines } = await resolveTarget(target, { signal: options.signal })
  const alias = lines.find((line) => line.startsWith('hostkeyalias '))?.slice('hostkeyalias '.length)
  return alias === undefined || alias === 'none' ? lookupName(hostname, port) : alias
}

function refuseRevoked(name: string, keys: readonly HostKey[], lines: readonly KnownHost[]): void {
  const revoked = keys.find((key) =>
    lines.some(({ marker, fingerprint }) => marker === 'revoked' && fingerprint === key.fingerprint),
  )
  if (revoked === undefined) return
  throw new AnyplaceError('permission-denied', `The key of ${name} is revoked (${revoked.fingerprint}).`, {
    field: 'host',
    hint: 'ask the owner of the host for its new key',
    data: { cause: 'host-key-revoked', fingerprint: revoked.fingerprint },
  })
}

/** A key of the same type that differs from what is known: nobody may pin over it without having removed it. */
function refuseChanged(name: string, keys: readonly HostKey[], pins: readonly KnownHost[], forget: string): void {
  for (const key of keys) {
    const same = pins.filter(({ marker, type }) => marker === undefined && type === key.type)
    const [old] = same
    if (old === undefined || same.some(({ fingerprint }) => fingerprint === key.fingerprint)) continue
    throw new AnyplaceError(
      'permission-denied',
      `The ${key.type} key of ${name} has CHANGED: it was ${old.fingerprint} and is now ${key.fingerprint}. ` +
        'This may be another machine that pretends to be it.',
      {
        field: 'host',
        hint: `ask the owner of the host; if the change is theirs: ${forget}`,
        data: { cause: 'host-key-changed', oldFingerprint: old.fingerprint, newFingerprint: key.fingerprint },
      },
    )
  }
}

function otherFingerprint(name: string, wanted: string, keys: readonly HostKey[]): AnyplaceError {
  return new AnyplaceError('permission-denied', `${name} has no key ${wanted}; it shows ${listing(keys)}.`, {
    field: 'fingerprint',
    hint: 'this may be another machine that pretends to be it: ask the owner of the host',
    data: { cause: 'host-key-mismatch' },
  })
}

function checkedFingerprint(text: string): string {
  const bare = text.trim().replace(/=+$/, '')
  if (/^SHA256:[A-Za-z0-9+/]{43}$/.test(bare)) return bare
  throw new AnyplaceError('invalid-argument', `${JSON.stringify(text.slice(0, 80))} is no SHA256 fingerprint.`, {
    field: 'fingerprint',
    hint: 'on the host: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub',
  })
}

function listing(keys: readonly HostKey[]): string {
  return keys.map(({ type, fingerprint }) => `${type} ${fingerprint}`).join(', ')
}

function info({ type, fingerprint }: HostKey): HostKeyInfo {
  return { type, fingerprint }
}

/** The user's own files help to judge; one that cannot be read helps nothing. */
function readOther(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

function pinsPath(options: StateOptions): string {
  return join(options.directory ?? stateDirectory(), 'known_hosts')
}
