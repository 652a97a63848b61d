import { homedir } from 'node:os'
import { callSsh } from './ssh-program.ts'
import { AnyplaceError } from '../../spec/index.ts'
import type { CallOptions } from '../../spec/index.ts'
import type { SshTarget } from './ssh-target.ts'

/** What ssh itself makes of a target: the user's config applied. */
export interface ResolvedTarget {
  readonly hostname: string
  readonly port: number
  readonly username: string
  /** Files of known host keys that the user's ssh reads. */
  readonly knownHostsFiles: readonly string[]
  /** Reached through another host or a program. */
  readonly hasProxy: boolean
  /** Lines of the config that say how the host is reached, without anything about keys to log in with. */
  readonly lines: readonly string[]
}

/** How the target proves who it is and we who we are, at one start of ssh. */
export interface Credentials {
  /** Socket of the agent to ask. @default the config's */
  readonly agentSocket?: string | undefined
  /** Only this key is offered: a private key file, or the public half of a key in the agent. */
  readonly identityFile?: string | undefined
}

/** What is kept of `ssh -G`: the ways to reach a host, and which algorithms to use. */
const KEPT =
  /^(hostname|port|user|addressfamily|bindaddress|bindinterface|canonicalizehostname|casignaturealgorithms|checkhostip|ciphers|compression|connectionattempts|fingerprinthash|globalknownhostsfile|hostkeyalgorithms|hostkeyalias|identityagent|ipqos|kexalgorithms|knownhostscommand|macs|nohostauthenticationforlocalhost|proxycommand|proxyjump|proxyusefdpass|pubkeyacceptedalgorithms|rekeylimit|requiredrsasize|revokedhostkeys|securitykeyprovider|tcpkeepalive) /

const OWN_NAME = 'anyplace-target'

/** Asks ssh what its config says about the target. @throws AnyplaceError `invalid-argument` for a config that ssh refuses */
export async function resolveTarget(target: SshTarget, options: CallOptions = {}): Promise<ResolvedTarget> {
  const file = target.configFile === undefined ? [] : ['-F', target.configFile]
  const { exitCode, stdout, stderr } = await callSsh(['-G', ...file, ...destination(target)], options)
  if (exitCode !== 0) {
    throw new AnyplaceError('invalid-argument', `ssh cannot use its config for ${target.host}: ${stderr.trim()}`, {
      field: target.configFile === undefined ? 'host' : 'configFile',
      hint: `see: ssh -G ${target.host}`,
    })
  }
  const lines = stdout.split('\n').filter((line) => line.includes(' '))
  const valueOf = (name: string): string | undefined =>
    lines.find((line) => line.startsWith(`${name} `))?.slice(name.length + 1)
  return {
    hostname: valueOf('hostname') ?? target.host,
    port: Number(valueOf('port') ?? 22),
    username: valueOf('user') ?? '',
    knownHostsFiles: (valueOf('userknownhostsfile') ?? '').split(' ').filter((path) => path !== '' && path !== 'none'),
    hasProxy: lines.some((line) => /^proxy(jump|command) (?!none$)/.test(line)),
    lines: lines.filter((line) => KEPT.test(line)),
  }
}

/**
 * The words that name the target on ssh's command line. With a credential of its own the target gets a name that no config
 * and no jump host has, so that what is said of it holds for it alone.
 */
export function destination(
  { host, port, username, jumpHosts }: SshTarget,
  credentials: Credentials = {},
): readonly string[] {
  return [
    ...(port === undefined ? [] : ['-p', String(port)]),
    ...(username === undefined ? [] : ['-l', username]),
    ...(jumpHosts === undefined ? [] : ['-o', `ProxyJump=${jumpHosts.length === 0 ? 'none' : jumpHosts.join(',')}`]),
    '--',
    credentials.identityFile === undefined ? host : OWN_NAME,
  ]
}

/**
 * A config for `ssh -F`. It stands before the user's own, so that what it says of host keys holds on every hop: ssh gives
 * the same file to the ssh that it starts for a jump host. The user's files are read, never written.
 */
export function configText(
  target: SshTarget,
  resolved: ResolvedTarget,
  credentials: Credentials,
  ownKnownHosts: string,
): string {
  const { agentSocket, identityFile } = credentials
  const connectSeconds = Math.max(1, Math.ceil((target.connectTimeoutMs ?? 20_000) / 1000))
  const included =
    target.configFile === undefined ? [`${homedir()}/.ssh/config`, '/etc/ssh/ssh_config'] : [target.configFile]
  const includes = included.map((path) => `Include ${quoted(path)}`)
  const key = identityFile === undefined ? [] : [`IdentityFile ${quoted(literal(identityFile))}`]
  const agent = agentSocket === undefined ? [] : [`IdentityAgent ${quoted(literal(agentSocket))}`]
  const ours = [
    'BatchMode yes',
    `StrictHostKeyChecking ${target.acceptNewHostKey === true ? 'accept-new' : 'yes'}`,
    `UserKnownHostsFile ${[literal(ownKnownHosts), ...resolved.knownHostsFiles].map(quoted).join(' ')}`,
    'HashKnownHosts no', // whoever can read our pins can read the nodes as well
    'UpdateHostKeys no',
    'VerifyHostKeyDNS no',
    `ConnectTimeout ${connectSeconds}`,
    'ServerAliveInterval 15',
    'ServerAliveCountMax 3',
    'LogLevel INFO',
    'RemoteCommand none',
    'RequestTTY no',
    'PermitLocalCommand no',
    'ClearAllForwardings yes',
    'ForwardAgent no',
    'ForwardX11 no',
    'Tunnel no',
    'AddKeysToAgent no',
    'ControlMaster no',
    'ControlPath none',
  ]
  // With a key of its own the target is offered that one only, so the config's, which would be tried too, are left out.
  const blocks =
    key.length === 0
      ? [...includes]
      : [
          `Match originalhost ${OWN_NAME}`,
          'IdentitiesOnly yes',
          ...key,
          ...agent,
          ...resolved.lines.map((line) => line.replace(/(?<!%)((?:%%)*)%n/g, `$1${target.host}`)),
          `Match !originalhost ${OWN_NAME}`,
          ...key,
          ...agent,
          ...includes,
        ]
  return `${[...ours, ...blocks].join('\n')}\n`
}

/** ssh expands `%h` and the like in such paths. */
function literal(path: string): string {
  return path.replaceAll('%', '%%')
}

function quoted(path: string): string {
  return `"${path}"`
}
