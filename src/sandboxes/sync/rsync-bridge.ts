import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { deadlineSignal, untilAborted } from '../../kit/deadline.ts'
import { AnyplaceError } from '../../spec/index.ts'
import type { Process, Session } from '../../spec/index.ts'

const GRACE_MS = 2000
const END_MS = 10_000

/**
 * What rsync starts in the place of ssh: passes its words and its streams to us. One line, without single quotes, since
 * rsync splits it itself. A file would not do: this runs from source and compiled alike.
 */
const CONNECTOR =
  'const [at,...words]=process.argv.slice(1);const c=require("net").connect({path:at,allowHalfOpen:true},()=>{' +
  'c.write(JSON.stringify(words)+"\\n");process.stdin.pipe(c);c.pipe(process.stdout)});' +
  'c.on("error",()=>process.exit(1));c.on("end",()=>{process.stdin.unpipe(c);c.end();process.stdin.destroy()})'

/** The way of a local rsync to one in the sandbox: a socket that only this user reaches, and one process over the session. */
export interface RsyncBridge extends AsyncDisposable {
  /** The words of rsync's `--rsh`. */
  readonly shell: string
  /** What went wrong on the far side, when something did. */
  readonly failure: () => unknown
  /** What the far rsync said. */
  readonly said: () => string
  /** Settles when the far rsync has ended. Never rejects. */
  readonly ended: () => Promise<void>
}

/** @throws AnyplaceError `unsupported` where the path of Node cannot be said to rsync */
export async function openRsyncBridge(session: Session): Promise<RsyncBridge> {
  const directory = mkdtempSync(join(tmpdir(), 'anyplace-'))
  const path = join(directory, 'rsync')
  const words = [process.execPath, '-e', CONNECTOR, path]
  if (words.some((word) => word.includes("'"))) {
    rmSync(directory, { recursive: true, force: true })
    throw new AnyplaceError('unsupported', `rsync cannot be told to start ${process.execPath}.`)
  }
  let failure: unknown
  let said = ''
  const sockets = new Set<Socket>()
  let ended: Promise<void> = Promise.resolve()
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket)
    server.close() // One is all there is.
    socket.on('error', () => undefined)
    ended = serve(session, socket, (text) => (said = (said + text).slice(-4000))).catch((error: unknown) => {
      failure = error
      socket.destroy()
    })
  })
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(path, resolve))
  return {
    shell: words.map((word) => `'${word}'`).join(' '),
    failure: () => failure,
    said: () => said,
    ended: () => ended,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await ended
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

async function serve(session: Session, socket: Socket, onStderr: (text: string) => void): Promise<void> {
  const gone = new Promise<never>((_resolve, reject) => {
    socket.once('close', () => reject(new AnyplaceError('cancelled', 'The local rsync has ended.')))
  })
  gone.catch(() => undefined)
  const bytes = socket[Symbol.asyncIterator]() as AsyncIterator<Buffer>
  let head = Buffer.alloc(0)
  while (!head.includes(0x0a)) {
    const { done, value } = await bytes.next()
    if (done === true) return
    head = Buffer.concat([head, value])
  }
  const end = head.indexOf(0x0a)
  const [, ...argv] = JSON.parse(head.subarray(0, end).toString()) as string[]
  const server = await session.spawn(argv, { stdin: 'pipe' })
  let hasEnded = false
  try {
    const down = pass(server, socket, onStderr)
    down.catch(() => undefined)
    // The far end may stop reading first; how it ended says why.
    feed(server, head.subarray(end + 1), bytes).catch(() => undefined)
    await Promise.race([down, gone])
    await server.wait()
    hasEnded = true
  } finally {
    await server.detach()
    if (!hasEnded) await endFar(session, server.id)
  }
}

async function feed(server: Process, first: Buffer, bytes: AsyncIterator<Buffer>): Promise<void> {
  const writer = server.stdin?.getWriter()
  if (first.byteLength > 0) await writer?.write(first)
  for (let step = await bytes.next(); step.done !== true; step = await bytes.next()) await writer?.write(step.value)
  await writer?.close()
}

async function pass(server: Process, socket: Socket, onStderr: (text: string) => void): Promise<void> {
  const errors = (async () => {
    for await (const chunk of server.stderr) onStderr(Buffer.from(chunk).toString())
  })()
  errors.catch(() => undefined)
  for await (const chunk of server.stdout) {
    if (!socket.write(chunk)) await new Promise((resolve) => socket.once('drain', resolve).once('close', resolve))
    if (socket.destroyed) return
  }
  await errors
  socket.end()
}

/** Processes outlive their client, this one shall not. It is found again, since its own link may be what broke. */
async function endFar(session: Session, processId: string): Promise<void> {
  const signal = deadlineSignal(END_MS)
  try {
    const server = await session.attach(processId, { signal })
    try {
      // Asked first, rsync removes its half files.
      await server.signal('SIGTERM')
      await untilAborted(server.wait({ signal: deadlineSignal(GRACE_MS, signal) }), signal).catch(() => undefined)
      await untilAborted(server.kill(), signal)
    } finally {
      await server.detach()
    }
  } catch {
    // Gone with its sandbox, or out of reach: its own time without a word ends it.
  }
}
