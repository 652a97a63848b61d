import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { debuglog } from 'node:util'
import { encodeFrame } from '../../execd/frames.ts'
import { FrameType } from '../../execd/protocol.ts'
import type { DaemonConnection } from '../../execd/connection.ts'
import type { ChildChannel } from '../../kit/child-channel.ts'
import { AnyplaceError } from '../../spec/index.ts'
import type { CallOptions } from '../../spec/index.ts'
import type { HostFacts } from './host-facts.ts'
import { resolveTarget } from './ssh-config.ts'
import { MasterError, openHostSession } from './host-session.ts'
import type { HostSession } from './host-session.ts'
import { connectionKey, forgetMaster, idleCloseMs, sharedMaster, shareMaster, startMaster } from './master.ts'
import type { Master } from './master.ts'
import { openSocketChannel } from './mux-forward.ts'
import { place } from './ssh-failure.ts'
import { SessionPool } from './session-pool.ts'
import type { PrivateKey, SshTarget } from './ssh-target.ts'

const debug = debuglog('anyplace:ssh')
/** A master that somebody started before may pass nothing on: that long it gets to prove itself. */
const ADOPT_MS = 5000
/** What fits one packet. */
const SMALL_BYTES = 1400

/** One connection to a host as one user with one credential: a master, and a session to the host's daemon over it. */
export class HostLink {
  readonly target: SshTarget
  readonly facts: HostFacts
  readonly master: Master
  /** Settles when the link can no longer be used. Never rejects. */
  readonly closed: Promise<void>
  /** Sessions of their own, for a host without a daemon. */
  readonly sessions: SessionPool
  readonly #daemon: { readonly connection: DaemonConnection; readonly channel: ChildChannel } | undefined
  readonly #hasProxy: Promise<boolean>
  readonly #sockets = new Set<Socket>()
  #uses = 0
  #idle: NodeJS.Timeout | undefined
  #end: () => void = () => undefined
  #isClosed = false

  constructor(target: SshTarget, master: Master, session: HostSession, key: () => Promise<PrivateKey | undefined>) {
    this.target = target
    this.master = master
    this.facts = session.facts
    this.sessions = new SessionPool(target, master, key)
    this.#daemon = session.daemon
    const ended = new Promise<void>((resolve) => (this.#end = resolve))
    const lost = session.daemon?.connection.closed.then((error) => {
      if (error !== undefined) debug('the link to %s broke: %s', place(target, undefined), error.message)
    })
    this.closed = (lost === undefined ? ended : Promise.race([lost, ended])).then(() => {
      this.#isClosed = true
      clearTimeout(this.#idle)
      for (const socket of this.#sockets) socket.destroy(new Error('The link has ended.'))
    })
    this.#daemon?.channel.unref()
    this.#rest()
    this.#hasProxy = this.#findProxy()
    void this.#hastenThroughProxies()
  }

  /** False once it broke or was closed. */
  get isOpen(): boolean {
    return !this.#isClosed && this.#daemon?.connection.error === undefined
  }

  /** The host's daemon. @throws AnyplaceError `no-exec-daemon` on a host without Python */
  get connection(): DaemonConnection {
    if (this.#daemon !== undefined) return this.#daemon.connection
    throw new AnyplaceError('no-exec-daemon', `${place(this.target, undefined)} has no Python 3.9 or later.`, {
      hint: 'install python3 there',
    })
  }

  /** While something is used the link is kept, and this program with it. Gives the end of the use; idempotent. */
  use(): () => void {
    if (++this.#uses === 1) {
      clearTimeout(this.#idle)
      this.#daemon?.channel.ref()
    }
    let isUsed = true
    return () => {
      if (!isUsed) return
      isUsed = false
      if (--this.#uses === 0) {
        this.#daemon?.channel.unref()
        this.#rest()
      }
    }
  }

  /**
   * A stream to a unix socket of the host that is a channel of the connection itself: half of the way through the host's
   * daemon, and none of its work. It ends with the link, and at once where the server forwards none. Undefined where the master
   * takes none, and behind jump hosts, whose servers have to be hastened.
   */
  async openSocket(path: string, options: CallOptions = {}): Promise<Duplex | undefined> {
    if (await this.#hasProxy) return undefined
    const socket = await openSocketChannel(this.master, path, options)
    if (socket === undefined) return undefined
    const done = this.use()
    this.#sockets.add(socket)
    socket.once('close', () => {
      done()
      this.#sockets.delete(socket)
    })
    if (this.#isClosed) socket.destroy()
    return socket
  }

  /** Ends the session; the master ends itself when nobody else uses it. */
  async close(): Promise<void> {
    this.#end()
    await this.#daemon?.connection.close()
  }

  /**
   * A jump host's server sends small packets one at a time, each only when the last one was acknowledged, and that takes us
   * 40 ms unless we have something to send. So we have: a frame that says nothing.
   */
  async #hastenThroughProxies(): Promise<void> {
    const daemon = this.#daemon
    if (daemon === undefined || !(await this.#hasProxy)) return
    const nothing = encodeFrame(FrameType.pong, 0, new Uint8Array(8))
    daemon.channel.stdout.on('data', (chunk: Uint8Array) => {
      if (chunk.byteLength < SMALL_BYTES) daemon.connection.writer.send(nothing)
    })
  }

  async #findProxy(): Promise<boolean> {
    try {
      return (this.master.resolved ?? (await resolveTarget(this.target))).hasProxy
    } catch (error) {
      debug('%s: %s', place(this.target, undefined), error)
      return false
    }
  }

  #rest(): void {
    if (this.#isClosed) return
    this.#idle = setTimeout(() => void this.close(), idleCloseMs(this.target) / 2)
    this.#idle.unref()
  }
}

/** Links by what they are to and with which credential. */
const links = new Map<string, Promise<HostLink>>()

/**
 * The link to the target, connected when there is none. Callers that come at once share one.
 *
 * @throws AnyplaceError why it cannot be connected
 */
export async function hostLink(target: SshTarget): Promise<HostLink> {
  // The workspace is where the daemon lives, and the time is a part of what was asked for.
  const key = await openKey(target)
  const id = JSON.stringify([connectionKey(target, key), target.workspace ?? '', idleCloseMs(target)])
  const known = links.get(id)
  if (known !== undefined) {
    const link = await known
    if (link.isOpen) return link
    if (links.get(id) === known) links.delete(id)
    return hostLink(target)
  }
  const connecting = connect(target, key)
  links.set(id, connecting)
  const forget = (): void => {
    if (links.get(id) === connecting) links.delete(id)
  }
  connecting.then((link) => link.closed.then(forget), forget)
  return connecting
}

/** Closes every link of this program. */
export async function closeHostLinks(): Promise<void> {
  const open = [...links.values()]
  links.clear()
  await Promise.all(open.map((link) => link.then((one) => one.close()).catch(() => undefined)))
}

/** The key is held only as long as a connection is made. */
function openKey({ identity }: SshTarget): Promise<PrivateKey | undefined> {
  return identity.kind === 'key' ? identity.open() : Promise.resolve(undefined)
}

async function connect(target: SshTarget, key: PrivateKey | undefined): Promise<HostLink> {
  const connecting = connectionKey(target, key)
  const timeoutMs = target.connectTimeoutMs ?? 20_000
  const shared = await sharedMaster(connecting)
  if (shared !== undefined) {
    try {
      const session = await openHostSession(target, shared, { timeoutMs: Math.min(ADOPT_MS, timeoutMs) })
      debug('%s: over a master that was there', place(target, undefined))
      return new HostLink(target, shared, session, () => openKey(target))
    } catch (error) {
      const isWedged = AnyplaceError.is(error, 'timeout')
      if (!(error instanceof MasterError) && !isWedged) throw error
      debug('%s: the master that was there is %s', place(target, undefined), isWedged ? 'wedged' : error.message)
      if (isWedged || error.fault === 'dead') forgetMaster(shared)
    }
  }
  const master = await startMaster(target, key)
  await shareMaster(master, connecting)
  try {
    const session = await openHostSession(target, master, { timeoutMs })
    return new HostLink(target, master, session, () => openKey(target))
  } catch (error) {
    if (!(error instanceof MasterError)) throw error
    throw new AnyplaceError(
      'connection-lost',
      `${place(target, master.resolved)} let us in and then closed: ${error.message}`,
      {
        hint: `try it by hand: ssh ${target.host} true`,
        cause: error,
      },
    )
  }
}
