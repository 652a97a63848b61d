import { createServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import { pipeline } from 'node:stream'
import { AnyplaceError } from '../spec/index.ts'
import type { CallOptions, Session } from '../spec/index.ts'
import { throwIfAborted } from '../kit/deadline.ts'

const LOOPBACK = '127.0.0.1'

export interface ForwardOptions extends CallOptions {
  /** @default 0: any free port */
  readonly localPort?: number | undefined
}

/** A port of a sandbox that listens at 127.0.0.1. */
export interface Forward extends AsyncDisposable {
  readonly localPort: number
  /** Stops listening and ends its connections. Idempotent. */
  close(): Promise<void>
}

/**
 * Listens at 127.0.0.1 and carries each connection to a port inside. A connection to a port where nothing listens is closed.
 *
 * @throws AnyplaceError `invalid-argument` for a port that is none, `already-exists` when the local port is taken
 */
export async function forwardPort(
  session: Session,
  remotePort: number,
  options: ForwardOptions & { readonly onClose?: () => void } = {},
): Promise<Forward> {
  const localPort = options.localPort ?? 0
  checkPort('remotePort', remotePort, 1)
  checkPort('localPort', localPort, 0)
  throwIfAborted(options.signal)
  const sockets = new Set<Socket>()
  const stop = new AbortController()
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    // Before the far end is there, an error has nobody else to hear it.
    socket.on('error', () => socket.destroy())
    void carry(session, remotePort, socket, stop.signal)
  })
  await listen(server, localPort)
  let closing: Promise<void> | undefined
  const forward: Forward = {
    localPort: (server.address() as AddressInfo).port,
    close() {
      closing ??= new Promise<void>((resolve) => {
        stop.abort()
        server.close(() => resolve())
        for (const socket of sockets) socket.destroy()
        options.onClose?.()
      })
      return closing
    },
    [Symbol.asyncDispose]() {
      return forward.close()
    },
  }
  return forward
}

async function carry(session: Session, remotePort: number, socket: Socket, signal: AbortSignal): Promise<void> {
  try {
    const remote = await session.connect(remotePort, { signal })
    if (socket.destroyed) {
      remote.destroy()
      return
    }
    // Each direction ends by itself (half-close); a failure of either ends both.
    const onEnd = (error: unknown): void => {
      if (!error) return
      socket.destroy()
      remote.destroy()
    }
    pipeline(socket, remote, onEnd)
    pipeline(remote, socket, onEnd)
  } catch {
    socket.destroy()
  }
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const details = { field: 'localPort', cause: error, data: { localPort: port } }
      if (error.code === 'EADDRINUSE') {
        const hint = 'choose another local port, or 0 for any free one'
        reject(new AnyplaceError('already-exists', `Port ${port} of ${LOOPBACK} is in use.`, { ...details, hint }))
      } else if (error.code === 'EACCES') {
        const hint = 'choose a port above 1023'
        reject(
          new AnyplaceError('permission-denied', `May not listen at port ${port} of ${LOOPBACK}.`, {
            ...details,
            hint,
          }),
        )
      } else {
        reject(
          new AnyplaceError('internal', `Cannot listen at port ${port} of ${LOOPBACK}: ${error.message}.`, details),
        )
      }
    })
    server.listen({ host: LOOPBACK, port, exclusive: true }, resolve)
  })
}

function checkPort(field: string, port: number, lowest: number): void {
  if (Number.isInteger(port) && port >= lowest && port <= 65_535) return
  throw new AnyplaceError('invalid-argument', `${field} must be ${lowest} to 65535 (got ${port}).`, { field })
}
