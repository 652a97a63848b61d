import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { dirname, join } from 'node:path'
import { throwIfAborted } from '../../kit/deadline.ts'
import type { CallOptions } from '../../spec/index.ts'
import type { Master } from './master.ts'
import { uniqueName } from './runtime-directory.ts'
import { WireReader, wireString, wireUint32 } from './ssh-wire.ts'

// PROTOCOL.mux of OpenSSH, at version 4 since OpenSSH 5.4. Asking through a process of ssh takes ten times as long.
const HELLO = 1
const VERSION = 4
const ALIVE_CHECK = 0x1000_0004
const OPEN_FORWARD = 0x1000_0006
const CLOSE_FORWARD = 0x1000_0007
const LOCAL = 1
/** In place of a port: the host is the path of a unix socket. */
const IS_PATH = 0xffff_fffe
const OK = 0x8000_0001
const MAX_MESSAGE_BYTES = 64 * 1024

/**
 * A channel of the connection's own to a unix socket of the host: no session, no process there, no other stream around it.
 * Undefined where the master takes no forwards. A server that allows none closes it at once.
 *
 * @throws what the signal says, and what connecting to the master fails with
 */
export async function openSocketChannel(
  master: Master,
  path: string,
  options: CallOptions = {},
): Promise<Socket | undefined> {
  const { signal } = options
  throwIfAborted(signal)
  const local = join(dirname(master.controlPath), uniqueName())
  const mux = connect(master.controlPath)
  const onAbort = (): void => void mux.destroy()
  signal?.addEventListener('abort', onAbort, { once: true })
  let socket: Socket | undefined
  try {
    const answers = messages(mux)
    const ask = async (type: number, id: number): Promise<boolean> => {
      const forward = [wireUint32(LOCAL), wireString(local), wireUint32(IS_PATH), wireString(path), wireUint32(IS_PATH)]
      send(mux, wireUint32(type), wireUint32(id), ...forward)
      return (await next(answers)).uint32() === OK
    }
    const greeting = await next(answers)
    if (greeting.uint32() !== HELLO || greeting.uint32() !== VERSION) return undefined
    send(mux, wireUint32(HELLO), wireUint32(VERSION))
    if (!(await ask(OPEN_FORWARD, 1))) return undefined
    socket = connect({ path: local, allowHalfOpen: true })
    await once(socket, 'connect', { signal })
    socket.on('error', () => undefined) // whoever reads it hears of its end
    // Nobody else is to come that way; what has come stays. The master lets us in before it answers, in one turn of its loop;
    // with the forward closed before that we would be turned away.
    send(mux, wireUint32(ALIVE_CHECK), wireUint32(2))
    await next(answers)
    await ask(CLOSE_FORWARD, 3)
    throwIfAborted(signal)
    return socket
  } catch (error) {
    socket?.destroy()
    throwIfAborted(signal)
    throw error
  } finally {
    signal?.removeEventListener('abort', onAbort)
    mux.destroy()
    await rm(local, { force: true })
  }
}

function send(mux: Socket, ...parts: readonly Uint8Array[]): void {
  mux.write(wireString(Buffer.concat(parts)))
}

async function next(answers: AsyncGenerator<WireReader, void>): Promise<WireReader> {
  const { value } = await answers.next()
  if (value === undefined) throw new Error('the master hung up')
  return value
}

async function* messages(mux: Socket): AsyncGenerator<WireReader, void> {
  let bytes = Buffer.alloc(0)
  for await (const chunk of mux as AsyncIterable<Buffer>) {
    bytes = Buffer.concat([bytes, chunk])
    while (bytes.length >= 4) {
      const end = 4 + bytes.readUInt32BE()
      if (end > MAX_MESSAGE_BYTES) throw new Error(`the master sends a message of ${end} bytes`)
      if (bytes.length < end) break
      yield new WireReader(bytes.subarray(4, end))
      bytes = bytes.subarray(end)
    }
  }
}
