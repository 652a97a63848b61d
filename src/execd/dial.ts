import { Readable } from 'node:stream'
import type { Duplex } from 'node:stream'
import { abortError, deadlineSignal } from '../kit/deadline.ts'
import { AnyplaceError } from '../spec/index.ts'
import type { CallOptions, Channel, ChannelExit } from '../spec/index.ts'
import { hasOutput } from './bootstrap.ts'
import { SOCKET_GREETING } from './protocol.ts'

/** A unix socket's path has room for this much; on some systems for less. */
const MAX_PATH_BYTES = 103
/** A daemon that runs answers at once: whoever waits for one that does not has a slower way. */
const ANSWER_MS = 5000

/** Where the daemon of a run directory listens. Undefined where the path is too long to connect to it. */
export function daemonSocket(runDirectory: string): string | undefined {
  const path = `${runDirectory}/execd.sock`
  return Buffer.byteLength(path) > MAX_PATH_BYTES ? undefined : path
}

/**
 * Speaks to a running daemon over its own unix socket, without a process of ours in between. Undefined when nothing answers:
 * a connector then tells why.
 *
 * @throws AnyplaceError `cancelled` or `timeout` by the signal given
 */
export async function dialDaemon(
  connect: (options: CallOptions) => Promise<Duplex | undefined>,
  options: CallOptions = {},
): Promise<Channel | undefined> {
  const signal = deadlineSignal(ANSWER_MS, options.signal)
  let socket: Duplex | undefined
  try {
    socket = await connect({ signal })
    if (socket === undefined) return undefined
    const channel = socketChannel(socket)
    socket.write(SOCKET_GREETING)
    if (await hasOutput(channel, signal)) return channel
  } catch {
    if (options.signal?.aborted) {
      socket?.destroy()
      throw abortError(options.signal)
    }
  }
  socket?.destroy()
  return undefined
}

function socketChannel(socket: Duplex): Channel {
  // One that breaks while nobody listens must not end this program.
  socket.on('error', () => undefined)
  const exit = new Promise<ChannelExit>((_resolve, reject) => {
    const closed = (): void =>
      reject(new AnyplaceError('connection-lost', 'The connection to the exec daemon was closed.'))
    if (socket.destroyed) closed()
    else socket.once('close', closed)
  })
  exit.catch(() => undefined)
  const close = (): Promise<void> => {
    socket.destroy()
    return Promise.resolve()
  }
  return { stdin: socket, stdout: socket, stderr: Readable.from([]), exit, close, [Symbol.asyncDispose]: close }
}
