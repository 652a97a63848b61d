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
    connectDirectly: (path, options) => withLink(options, (connected) => connected.openSocket(path, options)),
    readFile: (path, options) =>
      withFiles(options, (files) =>
        files.read(path, { ...options, maxBytes: MAX_FILE_BYTES }).catch((error: unknown) => {
          if (AnyplaceError.is(error, 'file-not-found') || AnyplaceError.is(error, 'not-a-directory')) return undefined
          throw error
        }),
      ),
    writeFile: (path, bytes, options) =>
      withFiles(options, async (files) => {
        await makePrivate(files, parentOf(path), options?.signal)
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
      withLink(options, async (connected) => {
        await makePrivate(new DaemonFiles(connected.connection), path, options?.signal)
        // One that was there already keeps its own mode unless one was asked for.
        if (options?.mode === undefined) return
        if ((await exitCodeOf(connected, ['chmod', '--', options.mode.toString(8), path], options)) !== 0)
          throw new AnyplaceError('permission-denied', `Cannot change the mode of ${path} on ${label}.`)
      }),
    remove: (path, options) =>
      withLink(options, async (connected) => {
        try {
          await new DaemonFiles(connected.connection).remove(path, { ...options, recursive: true, force: true })
        } catch (error) {
          if (!AnyplaceError.is(error) || ['cancelled', 'timeout', 'connection-lost'].includes(error.code)) throw error
          // Directories without their owner's write bit: the system's tools get through.
          await exitCodeOf(connected, ['chmod', '-R', 'u+rwX', '--', path], options)
          if ((await exitCodeOf(connected, ['rm', '-rf', '--', path], options)) !== 0) throw error
        }
      }),
  }
}

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/')) || '/'
}

/** What is missing of the path is made for its owner alone; what is there stays as it is. */
async function makePrivate(files: DaemonFiles, path: string, signal: AbortSignal | undefined): Promise<void> {
  if (await files.exists(path, { signal })) return
  await makePrivate(files, parentOf(path), signal)
  await files.makeDirectory(path, { signal, mode: 0o700 })
}

async function exitCodeOf(link: HostLink, argv: readonly string[], options: CallOptions = {}): Promise<number | null> {
  await using channel = await run(link, argv, options)
  channel.stdin.end()
  channel.stdout.resume()
  channel.stderr.resume()
  return (await channel.exit).exitCode
}

async function run(link: HostLink, argv: readonly string[], options: MachineRunOptions): Promise<Channel> {
  const { cwd, detached, env = DEFAULT_ENV, signal } = options
  if (link.facts.python === undefined && detached !== true) return runPlain(link, argv, options)
  const channel = await openProcessChannel(link.connection, argv, { cwd, detached, env, signal })
  // In use until all of it has come, not only its exit, or its user let go of it: a program that waits for the rest of the
  // output, or for the end of closing, would end meanwhile, since nothing else keeps it running.
  const done = link.use()
  void channel.over.then(done)
  const close = async (): Promise<void> => {
    const closed = link.use()
    await channel.close().finally(() => {
      closed()
      done()
    })
  }
  return {
    stdin: channel.stdin,
    stdout: channel.stdout,
    stderr: channel.stderr,
    exit: channel.exit,
    close,
    [Symbol.asyncDispose]: close,
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

/** On a host without a daemon: an ssh session of its own. The host's PATH stands behind the one given, for hosts that keep their programs elsewhere. */
async function runPlain(link: HostLink, argv: readonly string[], options: MachineRunOptions): Promise<Channel> {
  const { cwd = '/', signal } = options
  const env: Readonly<Record<string, string | undefined>> = options.env ?? DEFAULT_ENV
  const PATH = env['PATH'] ?? DEFAULT_ENV.PATH
  const rest = Object.entries(env).filter(([name]) => name !== 'PATH')
  const script = 'path=$2:$PATH; cd -- "$1" && shift 2 && exec env -i "PATH=$path" "$@"'
  const words = rest.map(([name, value]) => `${name}=${value}`)
  const channel = await link.sessions.run(['/bin/sh', '-c', script, 'sh', cwd, PATH, ...words, ...argv], { signal })
  const done = link.use()
  channel.exit.then(done, done)
  return channel
}
