import { createHash } from 'node:crypto'
import { lstatSync, renameSync } from 'node:fs'
import { link, mkdir, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { deadlineSignal } from '../../kit/deadline.ts'
import type { ChildChannel } from '../../kit/child-channel.ts'
import { stateDirectory } from '../../store/index.ts'
import { AnyplaceError } from '../../spec/index.ts'
import type { CallOptions } from '../../spec/index.ts'
import { servePrivateAgent } from './private-agent.ts'
import { runtimeDirectory, uniqueName } from './runtime-directory.ts'
import { removeDeadSockets } from './runtime-leftovers.ts'
import { configText, destination, resolveTarget } from './ssh-config.ts'
import type { ResolvedTarget } from './ssh-config.ts'
import { connectFailure, place } from './ssh-failure.ts'
import { callSsh, startSsh } from './ssh-program.ts'
import type { PrivateKey, SshTarget } from './ssh-target.ts'

const STOP_MS = 2000

/** A running master: one authenticated connection that many ssh sessions share. It ends itself when it is unused. */
export interface Master {
  readonly controlPath: string
  /** Undefined when somebody else started it. */
  readonly resolved: ResolvedTarget | undefined
}

/** After how long without use everything about a connection is closed. */
export function idleCloseMs(target: SshTarget): number {
  return target.idleCloseMs ?? 300_000
}

/** Where host keys are pinned: ours, never the user's own file. */
export function ownKnownHosts(): string {
  return join(stateDirectory(), 'known_hosts')
}

/**
 * What tells one connection from another: the way, the user *and* the credential. Whoever has another credential never gets
 * a connection that this one opened.
 */
export function connectionKey(target: SshTarget, key: PrivateKey | undefined): string {
  const { host, port, username, identity, jumpHosts, configFile, acceptNewHostKey = false } = target
  const credential =
    identity.kind === 'file'
      ? ['file', identity.path]
      : identity.kind === 'key'
        ? ['key', key?.fingerprint]
        : ['config', process.env['SSH_AUTH_SOCK'], process.env['HOME']]
  const parts = [host, port, username, jumpHosts, configFile, acceptNewHostKey, ownKnownHosts(), credential]
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 24)
}

/** A master that other programs of this user share. */
export interface SharedMaster extends Master {
  /** Of its socket: another one's has another. */
  readonly inode: number
}

/** The master that is shared for the key; it may be dead. */
export async function sharedMaster(key: string): Promise<SharedMaster | undefined> {
  const controlPath = join(await runtimeDirectory(), key)
  const inode = lstatSync(controlPath, { throwIfNoEntry: false })?.ino
  return inode === undefined ? undefined : { controlPath, resolved: undefined, inode }
}

/**
 * Connects: host key first, then the login. Gives the master once the host has let us in.
 *
 * @throws AnyplaceError one for each cause: `permission-denied` (host key, login), `not-found` (no such host),
 * `connection-lost` (unreachable), `timeout`, `invalid-argument` (the user's config), `cancelled`
 */
export async function startMaster(
  target: SshTarget,
  key: PrivateKey | undefined,
  options: CallOptions = {},
): Promise<Master> {
  const { connectTimeoutMs = 20_000 } = target
  const directory = await runtimeDirectory()
  const name = uniqueName()
  const controlPath = join(directory, name)
  const configPath = join(directory, `${name}.conf`)
  const keyPath = join(directory, `${name}.pub`)
  const knownHosts = ownKnownHosts()
  // ssh makes the file when it pins a key, but not its directory.
  if (target.acceptNewHostKey === true) await mkdir(dirname(knownHosts), { recursive: true, mode: 0o700 })
  const signal = deadlineSignal(connectTimeoutMs, options.signal)
  const resolved = await resolveTarget(target, { signal })
  const agent = key === undefined ? undefined : await servePrivateAgent([key], { signal })
  try {
    if (key !== undefined) {
      const line = `${key.type} ${Buffer.from(key.publicBlob).toString('base64')}\n`
      await writeFile(keyPath, line, { mode: 0o600, flag: 'wx' })
    }
    const credentials = {
      agentSocket: agent?.socketPath,
      identityFile: key !== undefined ? keyPath : target.identity.kind === 'file' ? target.identity.path : undefined,
    }
    const text = configText(target, resolved, credentials, knownHosts)
    await writeFile(configPath, text, { mode: 0o600, flag: 'wx' })
    // Half of the time: the session over it is kept for the other half.
    const persistSeconds = Math.max(1, Math.ceil(idleCloseMs(target) / 2000))
    const shared = ['ControlMaster=yes', `ControlPath=${controlPath}`, `ControlPersist=${persistSeconds}`]
    const asMaster = ['-f', '-N', '-T', ...shared.flatMap((option) => ['-o', option])]
    const argv = ['-F', configPath, ...asMaster, ...destination(target, credentials)]
    const { hasProxy } = resolved
    const how = { signal, onlyOwn: !hasProxy && target.identity.kind !== 'config' }
    const { exitCode, stderr } = await callSsh(argv, how)
    if (exitCode !== 0) {
      // What a jump host's ssh says is lost where a master persists: without one it is told.
      const told = hasProxy
        ? await callSsh(['-F', configPath, '-T', ...destination(target, credentials), 'exit 0'], how)
        : undefined
      throw connectFailure(target, resolved, told === undefined || told.exitCode === 0 ? stderr : told.stderr, exitCode)
    }
    return { controlPath, resolved }
  } catch (error) {
    if (options.signal?.aborted || !AnyplaceError.is(error, 'timeout') || error.data !== undefined) throw error
    throw new AnyplaceError('timeout', `${place(target, resolved)} did not let us in within ${connectTimeoutMs} ms.`, {
      hint: 'check the address and the firewall, or raise connectTimeoutMs',
      data: { cause: 'timeout' },
      cause: error,
    })
  } finally {
    await agent?.close()
    await Promise.all([rm(configPath, { force: true }), rm(keyPath, { force: true })])
  }
}

/** Lets other programs of this user find the master, unless they have one. */
export async function shareMaster(master: Master, key: string): Promise<void> {
  const shared = join(dirname(master.controlPath), key)
  await link(master.controlPath, shared).catch(() => undefined)
  void removeDeadSockets(dirname(shared))
}

/**
 * Nobody finds this master any more: its socket is dead, or it passes nothing on. One that still answers is told to end;
 * nobody waits for that.
 */
export function forgetMaster(master: SharedMaster): void {
  const { controlPath, inode } = master
  const aside: Master = { ...master, controlPath: join(dirname(controlPath), uniqueName()) }
  try {
    // Somebody else may have done it, and be at the next one already.
    if (lstatSync(controlPath).ino !== inode) return
    renameSync(controlPath, aside.controlPath)
  } catch {
    return // somebody else did
  }
  void stopMaster(aside).then(() => rm(aside.controlPath, { force: true }))
}

/** Ends it and every session over it. */
export async function stopMaster(master: Master): Promise<void> {
  const argv = [...muxOptions(master), '-O', 'exit', '--', 'host']
  await callSsh(argv, { signal: deadlineSignal(STOP_MS) }).catch(() => undefined)
}

/** A session over the master. Without the master it fails at once: it never connects by itself. */
export function startSession(master: Master, command: string, options: CallOptions = {}): Promise<ChildChannel> {
  return startSsh([...muxOptions(master), '-T', '--', 'host', command], { ...options, onlyOwn: true })
}

function muxOptions(master: Master): readonly string[] {
  const options = ['ControlMaster=no', 'ProxyCommand=false', 'LogLevel=ERROR', 'BatchMode=yes']
  return ['-F', 'none', '-S', master.controlPath, ...options.flatMap((option) => ['-o', option])]
}
