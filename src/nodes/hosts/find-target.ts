import { AnyplaceError } from '../../spec/index.ts'
import type { SshTarget } from '../../providers/ssh/ssh-target.ts'
import { findNode } from '../registry/node-records.ts'
import { sshTargetOf } from '../registry/ssh-target-of.ts'
import { withStore } from '../state.ts'
import type { VaultOptions } from '../state.ts'

/**
 * The host that a name stands for: a node of type ssh, or `host`, `host:port`, `user@host:port`, `[address]:port`.
 *
 * @throws AnyplaceError `invalid-argument` for a local node, or for what is no host
 */
export async function findTarget(name: string, options: VaultOptions = {}): Promise<SshTarget> {
  const found = name === '' ? undefined : await withStore(options, (store) => findNode(store, name))
  if (found?.record.config.type === 'ssh') return sshTargetOf(name, found.record.config, options)
  if (found !== undefined || name === 'local') {
    throw new AnyplaceError(
      'invalid-argument',
      `The node ${JSON.stringify(name)} is this computer: nothing is to be trusted.`,
      {
        field: 'host',
        hint: 'name a node of type ssh, or a host',
      },
    )
  }
  return parseDestination(name)
}

function parseDestination(text: string): SshTarget {
  const at = text.lastIndexOf('@')
  const place = text.slice(at + 1)
  // Several colons without brackets are an IPv6 address.
  const match =
    /^\[([^\]]+)\](?::(\d{1,5}))?$/.exec(place) ??
    /^([^:[\]]+)(?::(\d{1,5}))?$/.exec(place) ??
    /^([0-9a-fA-F:.%]+)$/.exec(place)
  const [, host = '', port] = match ?? []
  if (host === '' || host.startsWith('-') || at === 0 || text.startsWith('-')) {
    throw new AnyplaceError('invalid-argument', `${JSON.stringify(text)} is neither a node nor a host.`, {
      field: 'host',
      hint: 'name a node, or write host, host:port or user@host:port',
    })
  }
  return {
    name: text,
    host,
    identity: { kind: 'config' },
    ...(port === undefined ? {} : { port: Number(port) }),
    ...(at < 0 ? {} : { username: text.slice(0, at) }),
  }
}
