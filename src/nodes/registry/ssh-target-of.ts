import type { SshIdentity, SshTarget } from '../../providers/ssh/ssh-target.ts'
import type { VaultOptions } from '../state.ts'
import type { SshNodeConfig } from './node-records.ts'

/** A node of type ssh as its provider knows it. The vault is opened only when a connection asks for the key. */
export function sshTargetOf(name: string, config: SshNodeConfig, options: VaultOptions = {}): SshTarget {
  const { type: _, key: __, identityFile: ___, engine: ____, ...rest } = config
  return { name, ...rest, identity: identityOf(config, options) }
}

function identityOf({ key, identityFile }: SshNodeConfig, options: VaultOptions): SshIdentity {
  if (key !== undefined) {
    return { kind: 'key', name: key, open: async () => (await import('../keys/keys.ts')).openKey(key, options) }
  }
  return identityFile === undefined ? { kind: 'config' } : { kind: 'file', path: identityFile }
}
