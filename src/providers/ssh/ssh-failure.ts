import { printable } from '../../execd/printable.ts'
import { quoteShell } from '../../kit/quote.ts'
import { AnyplaceError } from '../../spec/index.ts'
import { stateDirectory } from '../../store/state-directory.ts'
import type { ResolvedTarget } from './ssh-config.ts'
import { lookupName } from './known-hosts.ts'
import type { SshTarget } from './ssh-target.ts'

type Maker = (context: Context) => AnyplaceError

interface Context {
  readonly target: SshTarget
  readonly resolved: ResolvedTarget | undefined
  readonly where: string
  readonly text: string
  readonly line: string
}

/** What ssh says, in order of precedence, and what it means. */
const CAUSES: readonly (readonly [RegExp, Maker])[] = [
  [/REVOKED HOST KEY DETECTED|is revoked|Host key .* revoked/i, (context) => hostKey(context, 'revoked')],
  [/REMOTE HOST IDENTIFICATION HAS CHANGED/, (context) => hostKey(context, 'changed')],
  [/No \S+ host key is known for|Host key verification failed/, (context) => hostKey(context, 'unknown')],
  [
    /Bad configuration option|bad configuration options|Bad owner or permissions|keyword .* extra arguments/,
    ({ line, where }) =>
      new AnyplaceError('invalid-argument', `ssh refuses its config for ${where}: ${line}`, {
        hint: 'mend the config file that it names',
        data: { cause: 'config' },
      }),
  ],
  [
    /Could not resolve hostname/,
    ({ target, line, where }) =>
      new AnyplaceError('not-found', `There is no host ${where}: ${line}`, {
        field: 'host',
        hint: `check the name, or add "Host ${target.host}" to your ssh config`,
        data: { cause: 'unknown-host' },
      }),
  ],
  [
    /UNPROTECTED PRIVATE KEY FILE/,
    ({ target, where }) =>
      new AnyplaceError('permission-denied', `ssh refuses the key for ${where}: its file is open to others.`, {
        field: 'identity',
        hint: target.identity.kind === 'file' ? `chmod 600 ${target.identity.path}` : 'chmod 600 the key file',
        data: { cause: 'key-file' },
      }),
  ],
  [
    /Permission denied \(|Too many authentication failures|No more authentication methods/,
    (context) => refused(context),
  ],
  [
    /timed out|Timeout, server|Operation timed out/,
    ({ line, where }) =>
      new AnyplaceError('timeout', `${where} did not answer in time: ${line}`, {
        hint: 'check the address, the port and the firewall; raise connectTimeoutMs for a slow network',
        data: { cause: 'timeout' },
      }),
  ],
  [
    /Connection refused|No route to host|Network is unreachable|Host is down|Connection (reset|closed)|kex_exchange_identification|banner exchange|stdio forwarding failed/,
    ({ line, where }) =>
      new AnyplaceError('connection-lost', `Cannot reach ${where}: ${line}`, {
        hint: 'check that the host is up and that an ssh server listens on that port',
        data: { cause: 'unreachable' },
      }),
  ],
]

/** Why ssh could not connect, from what it printed; one error for each cause, with the next step. */
export function connectFailure(
  target: SshTarget,
  resolved: ResolvedTarget | undefined,
  stderr: string,
  exitCode: number,
): AnyplaceError {
  const text = stderr.replaceAll('\r', '')
  const lines = text.split('\n').filter((line) => line.trim() !== '')
  for (const [pattern, make] of CAUSES) {
    const found = lines.find((line) => pattern.test(line))
    if (found !== undefined) return make({ target, resolved, where: place(target, resolved), text, line: short(found) })
  }
  const said = short(lines.slice(-3).join('; ')) || `it ended with exit code ${exitCode}`
  return new AnyplaceError('connection-lost', `ssh to ${place(target, resolved)} failed: ${said}`, {
    hint: `try it by hand: ssh ${target.host}`,
  })
}

/** `gpu-box (root@10.0.0.5:22)`. */
export function place(target: SshTarget, resolved: ResolvedTarget | undefined): string {
  const user = target.username ?? resolved?.username
  const port = target.port ?? resolved?.port
  const address = `${user ? `${user}@` : ''}${resolved?.hostname ?? target.host}${port === undefined ? '' : `:${port}`}`
  return target.name === address || target.name === '' ? address : `${target.name} (${address})`
}

/** What ssh calls the target itself when it speaks of host keys. */
function ownName(target: SshTarget, resolved: ResolvedTarget | undefined): string {
  const alias = resolved?.lines.find((line) => line.startsWith('hostkeyalias '))?.slice('hostkeyalias '.length)
  if (alias !== undefined && alias !== 'none') return alias
  return lookupName(resolved?.hostname ?? target.host, resolved?.port ?? target.port ?? 22)
}

function hostKey({ target, resolved, where, text }: Context, what: 'unknown' | 'changed' | 'revoked'): AnyplaceError {
  const fingerprint = /SHA256:[A-Za-z0-9+/=]+/.exec(text)?.[0]
  const pinned = /^Offending .* key in (.+)$/m.exec(text)?.[1]
  // With jump hosts it may be another host's: ssh names which.
  const named =
    /host key is known for (\S+) and/.exec(text)?.[1] ?? /Host key for (\S+) has changed/.exec(text)?.[1] ?? undefined
  const isHop = named !== undefined && named !== ownName(target, resolved)
  const of = isHop ? `${named}, on the way to ${where},` : where
  const shown = fingerprint === undefined ? '' : ` (${fingerprint})`
  const data = {
    cause: `host-key-${what}`,
    ...(fingerprint === undefined ? {} : { fingerprint }),
    ...(named === undefined ? {} : { host: named }),
  }
  const host = isHop ? named.replace(/^\[([^:]+)\]/, '$1') : target.name || target.host
  if (what === 'unknown')
    return new AnyplaceError('permission-denied', `The host key of ${of} is not known${shown}: nothing was sent.`, {
      field: 'host',
      hint: `compare its fingerprint with the host's own and pin it: anyplace hosts trust ${host}`,
      data,
    })
  if (what === 'revoked')
    return new AnyplaceError('permission-denied', `The host key of ${of} is revoked${shown}: nothing was sent.`, {
      field: 'host',
      hint: 'ask the owner of the host for its new key',
      data,
    })
  const isOurs = pinned === undefined || pinned.startsWith(stateDirectory())
  const forget = isOurs
    ? `anyplace hosts rm ${host}, then trust it again`
    : `ssh-keygen -R ${quoteShell(named ?? host)}`
  return new AnyplaceError(
    'permission-denied',
    `The host key of ${of} has CHANGED${shown}: this may be another machine that pretends to be it. Nothing was sent.${pinned === undefined ? '' : ` The pinned key is in ${pinned}.`}`,
    {
      field: 'host',
      hint: `ask the owner of the host; if the change is theirs: ${forget}`,
      data,
    },
  )
}

function refused({ target, where, line }: Context): AnyplaceError {
  const { identity } = target
  const key =
    identity.kind === 'key'
      ? `the key ${JSON.stringify(identity.name)}`
      : identity.kind === 'file'
        ? `the key file ${identity.path}`
        : 'every key that your ssh offers'
  const hint =
    identity.kind === 'key'
      ? `check the user name, and install the key: anyplace keys copy-id ${identity.name} ${target.name || target.host}`
      : identity.kind === 'file'
        ? 'check the user name, that the key is in its authorized_keys, and that a passphrase is in your agent (ssh-add)'
        : `check the user name, and that this works: ssh ${target.host} true`
  return new AnyplaceError('permission-denied', `${where} refused ${key}: ${line}`, {
    field: 'identity',
    hint,
    data: { cause: 'key-refused' },
  })
}

function short(text: string): string {
  return printable(text, 300)
}
