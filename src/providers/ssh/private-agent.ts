import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import type { Server, Socket } from 'node:net'
import { join } from 'node:path'
import { AnyplaceError } from '../../spec/index.ts'
import { fileError } from '../../kit/file-error.ts'
import { agentAnswers } from './agent-answers.ts'
import { AGENT_PREFIX, sweepLeftovers } from './runtime-leftovers.ts'
import { runtimeDirectory } from './runtime-directory.ts'
import type { PrivateKey } from './ssh-target.ts'
import { wireString } from './ssh-wire.ts'

/** An ssh-agent of our own. */
export interface PrivateAgent extends AsyncDisposable {
  /** For ssh's `IdentityAgent` option or SSH_AUTH_SOCK. */
  readonly socketPath: string
  /** Ends it, also for who is connected, forgets the keys and removes the directory. Idempotent. */
  close(): Promise<void>
}

/** What ssh-agent itself allows. */
const MAX_MESSAGE_BYTES = 256 * 1024
/** One ssh needs one, and one more for each jump host. */
const MAX_CLIENTS = 64
/** Directories of agents that are open; what is left of them when the process ends is removed then. */
const open = new Set<string>()

/**
 * Serves private keys to our own ssh processes, from memory: nothing of a key is written anywhere. The socket lies in a
 * directory with a random name that only this user can enter. It lists its keys and signs logins, nothing else; it cannot
 * be changed from outside. It does not keep the program running.
 *
 * @param options.signal closes it when aborted
 * @throws AnyplaceError `cancelled`; `permission-denied` or `no-space` where no directory can be made
 */
export async function servePrivateAgent(
  keys: readonly PrivateKey[],
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<PrivateAgent> {
  const { signal } = options
  const answers = agentAnswers(keys)
  if (signal?.aborted) throw cancelled(signal)
  const directory = await makeDirectory()
  const socketPath = join(directory, 'agent')
  const clients = new Set<Socket>()
  const server = createServer((socket) => {
    clients.add(socket)
    socket.on('close', () => clients.delete(socket))
    serve(socket, answers.answer).catch(() => socket.destroy())
  })
  server.maxConnections = MAX_CLIENTS
  let closing: Promise<void> | undefined
  const close = (): Promise<void> =>
    (closing ??= (async () => {
      signal?.removeEventListener('abort', onAbort)
      answers.forget()
      for (const socket of clients) socket.destroy()
      await new Promise<void>((resolve) => server.close(() => resolve()))
      removeDirectory(directory)
    })())
  const onAbort = (): void => void close()
  try {
    await listen(server, socketPath)
    chmodSync(socketPath, 0o600)
  } catch (error) {
    await close()
    throw fileError(error, 'serve keys at', socketPath)
  }
  if (signal?.aborted) {
    await close()
    throw cancelled(signal)
  }
  signal?.addEventListener('abort', onAbort, { once: true })
  server.unref()
  return { socketPath, close, [Symbol.asyncDispose]: close }
}

/** Answers one client, a message at a time: whoever does not read its answers is not read any further. */
async function serve(socket: Socket, answer: (message: Buffer) => Promise<Buffer>): Promise<void> {
  let pending: Buffer = Buffer.alloc(0)
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk])
    while (pending.length >= 4) {
      const length = pending.readUInt32BE()
      // Behind a length that no message has, nothing makes sense any more.
      if (length === 0 || length > MAX_MESSAGE_BYTES) return void socket.destroy()
      if (pending.length < 4 + length) break
      const reply = wireString(await answer(pending.subarray(4, 4 + length)))
      pending = pending.subarray(4 + length)
      await new Promise<void>((resolve, reject) => {
        socket.write(reply, (error) => (error ? reject(error) : resolve()))
      })
    }
  }
}

async function makeDirectory(): Promise<string> {
  const parent = await runtimeDirectory()
  sweepLeftovers(parent)
  try {
    const directory = mkdtempSync(join(parent, AGENT_PREFIX))
    if (open.size === 0) process.on('exit', removeAll)
    open.add(directory)
    return directory
  } catch (error) {
    throw fileError(error, 'make a private directory in', parent)
  }
}

function removeDirectory(directory: string): void {
  rmSync(directory, { recursive: true, force: true })
  open.delete(directory)
  if (open.size === 0) process.off('exit', removeAll)
}

function removeAll(): void {
  for (const directory of open) rmSync(directory, { recursive: true, force: true })
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, () => {
      server.off('error', reject)
      // A failing accept (no descriptors left) concerns one client only.
      server.on('error', () => undefined)
      resolve()
    })
  })
}

function cancelled(signal: AbortSignal): AnyplaceError {
  return AnyplaceError.is(signal.reason)
    ? signal.reason
    : new AnyplaceError('cancelled', 'The private agent was cancelled.', { cause: signal.reason })
}
