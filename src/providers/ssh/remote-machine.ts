import type { Duplex } from 'node:stream'
import { DaemonFiles } from '../../execd/daemon-files.ts'
import { openProcessChannel } from '../../execd/process-channel.ts'
import { openTunnel } from '../../execd/tunnel.ts'
import { untilAborted } from '../../kit/deadline.ts'
import { AnyplaceError } from '../../spec/index.ts'
import type { CallOptions, Channel, Machine, MachineRunOptions } from '../../spec/index.ts'
import type { HostLink } from './host-link.ts'

const MAX_FILE_BYTES = 64 * 1024 * 1024
const MAX_NAMES = 200_000
/** What a process is started with when it is given no environment: the same as on this computer. */
const DEFAULT_ENV = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' }

/**
 * A host as engines see it: everything goes through its daemon, over one ssh session. After the link broke, the next call
 * connects again.
 */
export function remoteMachine(label: string, link: () => Promise<HostLink>): Machine {
  async function withLink<T>(options: CallOptions | undefined, work: (link: HostLink) => Promise<T>): Promise<T> {
    const connected = await untilAborted(link(), options?.signal)
    const done = connected.use()
    try {
      return await work(connected)
    } finally {
      done()
    }
  }
  const withFiles = <T>(options: CallOptions | undefined, work: (files: DaemonFiles) => Promise<T>): Promise<T> =>
    withLink(options, ({ connection }) => work(new DaemonFiles(connection)))

  return {
    label,
    isLocal: false,
    facts: (options) => withLink(options, async ({ facts }) => facts),
    run: (argv, options = {}) => withLink(options, (connected) => run(connected, argv, options)),
    connect: (path, options) => withLink(options, (connected) => connect(connected, path, options)),
    readFile: (path, options) =>
      withFiles(options, (files) =>
        files.read(path, { ...options, maxBytes: MAX_FILE_BYTES }).catch((error: unknown) => {
          if (AnyplaceError.is(error, 'file-not-found') || AnyplaceError.is(error, 'not-a-directory')) return undefined
          throw error
        }),
      ),
    writeFile: (path, bytes, options) =>
      withFiles(options, async (files) => {
        const parent = path.slice(0, path.lastIndexOf('/')) || '/'
        await files.makeDirectory(parent, { signal: options?.signal })
        await files.write(path, bytes, { signal: options?.signal, mode: options?.mode ?? 0o600 })
      }),
    listDirectory: (path, options) =>
      withFiles(options, async (files) => {
        try {
          const { entries } = await files.list(path, { ...options, maxEntries: MAX_NAMES })
          return entries.map((entry) => entry.path)
        } catch (error) {
          if (AnyplaceError.is(error, 'file-not-found')) return []
          throw error
        }
      }),
    makeDirectory: (path, options) =>
      withFiles(options, (files) => files.makeDirectory(path, { ...options, mode: options?.mode ?? 0o700 })),
    remove: (path, options) =>
      withFiles(options, (files) => files.remove(path, { ...options, recursive: true, force: true })),
  }
}

async function run(link: HostLink, argv: readonly string[], options: MachineRunOptions): Promise<Channel> {
  const { cwd, detached, env = DEFAULT_ENV, signal } = options
  const channel = await openProcessChannel(link.connection, argv, { cwd, detached, env, signal })
  // In use until its process ended or its user let go of it.
  const done = link.use()
  channel.exit.then(done, done)
  return {
    stdin: channel.stdin,
    stdout: channel.stdout,
    stderr: channel.stderr,
    exit: channel.exit,
    close: () => channel.close().finally(done),
    [Symbol.asyncDispose]: () => channel.close().finally(done),
  }
}

/** Like a net.Socket it may be told not to keep the program running, which is what http agents do with idle ones. */
async function connect(link: HostLink, path: string, options: CallOptions = {}): Promise<Duplex> {
  let tunnel: Duplex
  try {
    tunnel = await openTunnel(link.connection, path, options)
  } catch (error) {
    if (!AnyplaceError.is(error, 'connection-lost') || typeof error.data?.['errno'] !== 'string') throw error
    const cause = Object.assign(new Error(error.message), { code: error.data['errno'] })
    throw new AnyplaceError('engine-unavailable', `${error.message}.`, { cause })
  }
  let done: (() => void) | undefined = link.use()
  const unref = (): Duplex => {
    done?.()
    done = undefined
    return tunnel
  }
  const ref = (): Duplex => {
    if (!tunnel.destroyed) done ??= link.use()
    return tunnel
  }
  tunnel.once('close', unref)
  return Object.assign(tunnel, { ref, unref })
}
