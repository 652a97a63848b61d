import { AnyplaceError } from '../../spec/index.ts'
import type { SshTarget } from './ssh-target.ts'

// A host name, an IPv4 or IPv6 address with its zone, or an alias. No pattern characters: the name is used in a config.
const HOST = /^[\p{L}\p{N}_][\p{L}\p{N}._:%-]*$|^::[\p{N}a-fA-F:.%]*$/u
const USER = /^[\p{L}\p{N}_.][\p{L}\p{N}._@\\+$-]*$/u
const MAX_NAME = 255

/**
 * Refuses what ssh could take for an option, a pattern or a piece of shell, before ssh sees any of it.
 *
 * @throws AnyplaceError `invalid-argument` that names the field
 */
export function checkTarget(target: SshTarget): void {
  checkHost(target.host, 'host')
  if (target.username !== undefined) checkUser(target.username, 'username')
  if (target.port !== undefined) checkPort(target.port, 'port')
  for (const [index, hop] of (target.jumpHosts ?? []).entries()) checkHop(hop, `jumpHosts[${index}]`)
  if (target.identity.kind === 'file') checkPath(target.identity.path, 'identity')
  if (target.configFile !== undefined) checkPath(target.configFile, 'configFile')
  checkWorkspace(target.workspace)
}

function checkHost(host: string, field: string): void {
  if (host.length <= MAX_NAME && HOST.test(host)) return
  throw fault(field, host, 'is no host name, address or ssh alias', 'names are letters, digits and inner . _ - :')
}

function checkUser(user: string, field: string): void {
  if (user.length <= MAX_NAME && USER.test(user)) return
  throw fault(field, user, 'is no user name', 'user names are letters, digits and inner . _ - @')
}

function checkPort(port: number, field: string): void {
  if (Number.isInteger(port) && port >= 1 && port <= 65_535) return
  throw fault(field, port, 'is no port', 'ports are from 1 to 65535')
}

/** `user@host:port`, user and port optional; an IPv6 address with a port stands in brackets. */
function checkHop(hop: string, field: string): void {
  const at = hop.lastIndexOf('@')
  if (at >= 0) checkUser(hop.slice(0, at), field)
  const place = hop.slice(at + 1)
  const match = /^\[([^\]]+)\](?::(\d+))?$/.exec(place) ?? /^([^:]+)(?::(\d+))?$/.exec(place)
  if (match === null) throw fault(field, hop, 'is no jump host', 'write user@host:port')
  checkHost(match[1] ?? '', field)
  if (match[2] !== undefined) checkPort(Number(match[2]), field)
}

function checkPath(path: string, field: string): void {
  // A quote cannot be written in an ssh config, and `%` or `${` would be expanded there.
  if (path.startsWith('/') && !/["\n\r\0]|\$\{/.test(path)) return
  throw fault(field, path, 'is no absolute path that ssh takes', 'give an absolute path without quotes')
}

function checkWorkspace(workspace: string | undefined): void {
  if (workspace === undefined) return
  if (workspace === '' || /[\0\n\r]/.test(workspace))
    throw fault('workspace', workspace, 'is no path', 'give a path on the host, such as ~/.anyplace')
  if (/^~[^/]/.test(workspace))
    throw fault('workspace', workspace, "names another user's home", 'only ~ and ~/… are resolved')
}

function fault(field: string, value: unknown, what: string, hint: string): AnyplaceError {
  return new AnyplaceError('invalid-argument', `${field} ${JSON.stringify(value)} ${what}.`, { field, hint })
}
