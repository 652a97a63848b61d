import { AnyplaceError } from '../../spec/index.ts'
import type { CallOptions } from '../../spec/index.ts'
import type { SshIdentity, SshTarget } from '../../providers/ssh/ssh-target.ts'
import { findTarget } from '../hosts/find-target.ts'
import { withStore } from '../state.ts'
import type { VaultOptions } from '../state.ts'
import { readKey } from './key-records.ts'
import { openKey } from './keys.ts'

export interface CopyKeyOptions extends CallOptions, VaultOptions {
  /** Logs in with this password. It reaches ssh through a private socket and is kept nowhere. */
  readonly password?: string | undefined
  /** Logs in with another key that Anyplace keeps. */
  readonly with?: string | undefined
  /** Logs in with a private key file, absolute. */
  readonly identityFile?: string | undefined
}

/** What became of a key on a host. */
export interface CopiedKey {
  /** False when the host had it already. */
  readonly wasAdded: boolean
  /** Whether the host lets us in with the key now; false where its server looks for keys elsewhere. */
  readonly isAccepted: boolean
}

/**
 * Installs the public half of a key on a host, in the authorized_keys of the user there; again does nothing. The host's
 * key must be trusted. Logs in with a password, another key, or whatever the node or the user's own ssh would use.
 *
 * @param host a node of type ssh, or `host`, `host:port`, `user@host:port`
 * @throws AnyplaceError `not-found` for an unknown key; `permission-denied` for an unknown host key, a refused login (cause
 * `password-refused`, `no-password-login` or `key-refused`) or a file that cannot be written; what connecting fails with
 */
export async function copyKey(name: string, host: string, options: CopyKeyOptions = {}): Promise<CopiedKey> {
  const { password, signal } = options
  if (password !== undefined && (password === '' || /[\0\r\n]/.test(password))) {
    throw new AnyplaceError('invalid-argument', 'A password is one line that is not empty.', { field: 'password' })
  }
  const { record } = await withStore(options, (store) => readKey(store, name))
  const target = await findTarget(host, options)
  const [type = '', base64 = ''] = record.publicKey.split(' ')
  const { installKey } = await import('../../providers/ssh/install-key.ts')
  const login: SshTarget = { ...target, identity: identityOf(name, target, options) }
  const wasAdded = await installKey(login, { type, base64, comment: record.comment }, { password, signal })
  const { tryLogin } = await import('../../providers/ssh/try-login.ts')
  const withKey: SshTarget = { ...target, identity: { kind: 'key', name, open: () => openKey(name, options) } }
  const failure = await tryLogin(withKey, { signal })
  if (failure !== undefined && failure.data?.['cause'] !== 'key-refused') throw failure
  return { wasAdded, isAccepted: failure === undefined }
}

function identityOf(name: string, target: SshTarget, options: CopyKeyOptions): SshIdentity {
  const { with: other, identityFile } = options
  if (other !== undefined) return { kind: 'key', name: other, open: () => openKey(other, options) }
  if (identityFile !== undefined) return { kind: 'file', path: identityFile }
  // The node's own key is the one that the host does not know yet.
  return target.identity.kind === 'key' && target.identity.name === name ? { kind: 'config' } : target.identity
}
