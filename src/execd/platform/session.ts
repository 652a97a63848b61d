import type { Duplex } from 'node:stream'
import { AnyplaceError } from '../../spec/index.ts'
import type {
  Argv,
  AttachOptions,
  CallOptions,
  Files,
  Process,
  ProcessInfo,
  Session,
  SessionInfo,
  SessionPowers,
  SpawnOptions,
  Stats,
} from '../../spec/index.ts'
import { startCommand } from './commands.ts'
import type { CommandDefaults } from './commands.ts'
import { Place } from './place.ts'
import type { PlatformHost } from './place.ts'
import { PlatformFiles } from './platform-files.ts'
import type { PlatformProcess } from './platform-process.ts'
import { readStats } from './platform-stats.ts'

export interface PlatformSessionOptions extends CallOptions {
  /** Absolute; made when missing. */
  readonly workdir: string
  /** The sandbox's environment, added to what the platform gives. */
  readonly env?: Readonly<Record<string, string>> | undefined
  /** Who commands run as. @default the platform's own choice */
  readonly user?: string | undefined
}

const POWERS: SessionPowers = {
  attach: false,
  pty: false,
  tunnels: false,
  stats: true,
  extend: false,
  idleTimeout: false,
  spawnKeys: false,
}
/** Ended processes that {@link Session.processes} still tells. */
const KEPT_ENDED = 1000

/**
 * A session for a place where no exec daemon can run: every command is one exec of the platform, wrapped by POSIX sh.
 * Same results, some 50 times slower; powers that need a daemon are refused with `unsupported`.
 *
 * The place needs `/bin/sh`, `env`, `sleep`, `cat`, `stat`, `find`, `mv`, `rm`, `mkdir`, `dd`, `tail`, `head`, `tar` and a
 * mounted /proc: busybox and any Debian, Alpine or Red Hat image have them.
 *
 * @throws AnyplaceError `unsupported` when the host has no exec of its own or the place no shell, `permission-denied` when
 * the workdir cannot be made
 */
export async function openPlatformSession(
  host: Pick<PlatformHost, 'info'> & Partial<Pick<PlatformHost, 'channel'>>,
  options: PlatformSessionOptions,
): Promise<Session> {
  if (host.channel === undefined)
    throw unsupported('commands without an exec daemon', 'the engine has no exec of its own')
  if (!options.workdir.startsWith('/')) {
    throw new AnyplaceError('invalid-argument', `workdir must be absolute (got ${JSON.stringify(options.workdir)}).`, {
      field: 'workdir',
    })
  }
  const place = new Place(host as PlatformHost, options.workdir.replace(/(?<=.)\/+$/, ''), options.user)
  const session = new PlatformSession(host, place, { env: options.env ?? {}, user: options.user })
  try {
    await place.surroundings(options.user, options.signal)
  } catch (error) {
    await session.close()
    throw error
  }
  return session
}

class PlatformSession implements Session {
  readonly files: Files
  readonly closed: Promise<Error | undefined>
  readonly #host: Pick<PlatformHost, 'info'>
  readonly #place: Place
  readonly #defaults: CommandDefaults
  readonly #processes = new Map<string, PlatformProcess>()
  #settleClosed: () => void = () => {}

  constructor(host: Pick<PlatformHost, 'info'>, place: Place, defaults: CommandDefaults) {
    this.#host = host
    this.#place = place
    this.#defaults = defaults
    this.files = new PlatformFiles(place, defaults)
    this.closed = new Promise((resolve) => {
      this.#settleClosed = () => resolve(undefined)
    })
  }

  async info(options: CallOptions = {}): Promise<SessionInfo> {
    const { expiresAt } = await this.#host.info(options)
    return { path: 'platform', powers: POWERS, killLevel: 'best-effort', expiresAt, workdir: this.#place.workdir }
  }

  async spawn(argv: Argv, options: SpawnOptions = {}): Promise<Process> {
    if (options.pty !== undefined) throw unsupported('pty', 'a terminal cannot be resized through exec')
    if (options.key !== undefined) throw unsupported('key', 'nothing in the place remembers keys')
    if (options.onDetachedOverflow === 'block') {
      throw unsupported("onDetachedOverflow: 'block'", 'nothing in the place keeps output')
    }
    const process = await startCommand(this.#place, argv, options, this.#defaults)
    this.#processes.set(process.id, process)
    this.#forgetOldest()
    return process
  }

  attach(_processId: string, _options?: AttachOptions): Promise<Process> {
    return Promise.reject(unsupported('attach', 'nothing in the place keeps output'))
  }

  /** The processes of this session: others left no trace. */
  processes(): Promise<readonly ProcessInfo[]> {
    const list = [...this.#processes.values()].map(({ id, pid, argv, startedAt, status }): ProcessInfo => {
      const base = { id, pid, argv, startedAt }
      return status === undefined ? { ...base, state: 'running' } : { ...base, state: 'exited', exit: status }
    })
    return Promise.resolve(list)
  }

  connect(_port: number, _options?: CallOptions): Promise<Duplex> {
    return Promise.reject(unsupported('tunnels (connections to ports)', 'no program in the place carries them'))
  }

  stats(options: CallOptions = {}): Promise<Stats> {
    return readStats(this.#place, { ...options, user: this.#defaults.user })
  }

  extend(_timeoutMs: number, _options?: CallOptions): Promise<Date> {
    return Promise.reject(unsupported('extend', 'the lifetime is fixed when the sandbox is opened'))
  }

  async close(): Promise<void> {
    await Promise.all([...this.#processes.values()].map((process) => process.detach()))
    await this.#place.close()
    this.#settleClosed()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #forgetOldest(): void {
    if (this.#processes.size <= KEPT_ENDED) return
    for (const [id, { status }] of this.#processes) {
      if (status === undefined) continue
      this.#processes.delete(id)
      return
    }
  }
}

function unsupported(what: string, why: string): AnyplaceError {
  return new AnyplaceError('unsupported', `This sandbox has no exec daemon and cannot do ${what}: ${why}.`, {
    field: what.split(/[: ]/, 1)[0],
    hint: 'use an image with Python 3.9 or newer, where the exec daemon runs',
  })
}
