import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { deadlineSignal } from '../../kit/deadline.ts'
import { AnyplaceError } from '../../spec/index.ts'
import type { CallOptions } from '../../spec/index.ts'
import { checkTarget } from './check-target.ts'
import { parseKnownHosts } from './known-hosts.ts'
import type { HostKey } from './known-hosts.ts'
import { runtimeDirectory, uniqueName } from './runtime-directory.ts'
import { SCAN_PREFIX } from './runtime-leftovers.ts'
import { connectFailure, place } from './ssh-failure.ts'
import { callSsh } from './ssh-program.ts'
import type { SshTarget } from './ssh-target.ts'
import { withLogin } from './login.ts'
import type { Login } from './login.ts'

/** The keys that a host shows. */
export interface HostKeys {
  /** The name under which OpenSSH looks its key up: `host`, `[host]:port`, or the alias that the config gives it. */
  readonly name: string
  readonly keys: readonly HostKey[]
  /** Files of known hosts that the user's ssh reads. */
  readonly knownHostsFiles: readonly string[]
}

/** A host has one key of each family at most. */
const FAMILIES = [
  'ssh-ed25519',
  'ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521',
  'rsa-sha2-512,rsa-sha2-256',
] as const

/**
 * Asks a host for its keys and tells it nothing: no user's key or password is offered. OpenSSH's client asks, not
 * ssh-keyscan, which knows neither the user's config nor jump hosts. Hosts on the way are verified and logged in to as for
 * any connection.
 *
 * @throws AnyplaceError as for a connection that fails: unreachable, no such host, a hop with an unknown key
 */
export async function scanHostKeys(target: SshTarget, options: CallOptions = {}): Promise<HostKeys> {
  checkTarget(target)
  const { connectTimeoutMs = 20_000 } = target
  const signal = deadlineSignal(connectTimeoutMs * FAMILIES.length, options.signal)
  return withLogin(target, { signal, keyOnlyForHops: true }, async (login) => {
    const found: HostKey[] = []
    let name: string | undefined
    for (const family of FAMILIES) {
      const shown = await ask(target, login, family, signal)
      if (shown === undefined) continue
      found.push(shown)
      name = shown.name
    }
    if (name === undefined) {
      throw new AnyplaceError('unsupported', `${place(target, login.resolved)} has no key of a kind that ssh takes.`)
    }
    return { name, keys: found, knownHostsFiles: login.resolved.knownHostsFiles }
  })
}

/** The host's key of one family; undefined when it has none. */
async function ask(
  target: SshTarget,
  login: Login,
  family: string,
  signal: AbortSignal,
): Promise<(HostKey & { readonly name: string }) | undefined> {
  const directory = join(await runtimeDirectory(), `${SCAN_PREFIX}${uniqueName()}`)
  await mkdir(directory, { mode: 0o700 })
  const seen = join(directory, 'known_hosts')
  try {
    await writeFile(seen, '', { mode: 0o600 })
    const only = [
      'StrictHostKeyChecking=accept-new',
      `UserKnownHostsFile="${seen}"`,
      'GlobalKnownHostsFile=none',
      'HashKnownHosts=no',
      'CheckHostIP=no',
      `HostKeyAlgorithms=${family}`,
      'PreferredAuthentications=none',
      'PubkeyAuthentication=no',
      'BatchMode=yes',
    ].flatMap((option) => ['-o', option])
    const { exitCode, stderr } = await callSsh(['-F', login.configPath, ...only, '-T', ...login.destination, 'true'], {
      signal,
    })
    const [line] = parseKnownHosts(await readFile(seen, 'utf8'))
    if (line !== undefined) {
      return { name: line.hosts, type: line.type, blob: line.blob, fingerprint: line.fingerprint }
    }
    if (/no matching host key type/.test(stderr)) return undefined
    throw connectFailure(target, login.resolved, stderr, exitCode)
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}
