import { Readable, Writable } from 'node:stream'
import type { Duplex } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { AnyplaceError } from '../../spec/index.ts'
import type { CallOptions, Channel, ChannelExit } from '../../spec/index.ts'
import { demultiplex } from './demultiplex.ts'
import type { Demultiplexed } from './demultiplex.ts'
import type { EngineApi } from './engine-api.ts'

export interface ExecOptions extends CallOptions {
  readonly env?: Readonly<Record<string, string>> | undefined
  readonly cwd?: string | undefined
  readonly user?: string | undefined
  readonly tty?: boolean | undefined
}

/** The engine ends the stream a moment before it knows the exit code. */
const EXIT_CODE_WAIT_MS = 5000
const MAX_STDERR_CHARACTERS = 16 * 1024

/**
 * Starts a process in a container through the engine's exec and gives its streams. With `tty` everything comes on stdout.
 *
 * @throws EngineApiError 409 when the container does not run, 404 when there is none; AnyplaceError `invalid-argument` for
 * a word that the engine cannot carry
 */
export async function execChannel(
  api: EngineApi,
  containerId: string,
  argv: readonly string[],
  options: ExecOptions = {},
): Promise<Channel> {
  const { cwd, env = {}, signal, tty = false, user } = options
  const environment = Object.entries(env).map(([name, value]) => `${name}=${value}`)
  for (const word of [...argv, ...environment, cwd ?? '']) assertCarried(word)
  const created = (await api.json('POST', `/containers/${containerId}/exec`, {
    body: {
      AttachStdin: true,
      AttachStdout: true,
      AttachStderr: true,
      Tty: tty,
      Cmd: argv,
      ...(environment.length > 0 ? { Env: environment } : {}),
      ...(cwd === undefined ? {} : { WorkingDir: cwd }),
      ...(user === undefined ? {} : { User: user }),
    },
    signal,
  })) as { readonly Id: string }
  const socket = await api.upgrade(`/exec/${created.Id}/start`, { body: { Detach: false, Tty: tty }, signal })
  return new EngineChannel(socket, tty, () => exitCodeOf(api, created.Id))
}

/**
 * The standard streams of a container's first process, to be asked for before the container is started. The engine tells
 * no exit code of whoever it handed them to: `exitCode` finds one in what it wrote to stderr, undefined as long as that
 * does not tell of an end. The streams themselves may never end while the container lives: an engine that is stuck with
 * input that nobody reads keeps them open.
 */
export async function attachChannel(
  api: EngineApi,
  containerId: string,
  exitCode: (stderr: string) => number | undefined,
  options: CallOptions = {},
): Promise<Channel> {
  const query = { stream: '1', stdin: '1', stdout: '1', stderr: '1' }
  const socket = await api.upgrade(`/containers/${containerId}/attach`, { query, signal: options.signal })
  let text = ''
  let tell: (code: number) => void = () => {}
  const told = new Promise<number>((resolve) => {
    tell = resolve
  })
  const channel = new EngineChannel(socket, false, () => Promise.resolve(exitCode(text) ?? 1), told)
  channel.stderr.on('data', (chunk: Buffer) => {
    if (text.length < MAX_STDERR_CHARACTERS) text += chunk.toString()
    const code = exitCode(text)
    if (code === undefined) return
    tell(code)
    socket.destroy()
  })
  return channel
}

class EngineChannel implements Channel {
  readonly stdin: Writable
  readonly stdout: Readable
  readonly stderr: Readable
  readonly exit: Promise<ChannelExit>
  readonly #socket: Duplex
  #closed = false

  /** `told`: an exit code that is known before the streams end. */
  constructor(socket: Duplex, tty: boolean, exitCode: () => Promise<number>, told?: Promise<number>) {
    this.#socket = socket
    const streams = tty ? terminalStreams(socket) : demultiplex(socket)
    this.stdin = stdinOf(socket)
    this.stdout = streams.stdout
    this.stderr = streams.stderr
    const exit = this.#waitForExit(streams.ended, exitCode)
    this.exit = told === undefined ? exit : Promise.race([told.then(exitOf), exit])
    exit.catch(() => {})
    this.exit.catch(() => {})
  }

  close(): Promise<void> {
    this.#closed = true
    this.#socket.destroy()
    this.stdin.destroy()
    this.stdout.destroy()
    this.stderr.destroy()
    return Promise.resolve()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #waitForExit(ended: Promise<Error | undefined>, exitCode: () => Promise<number>): Promise<ChannelExit> {
    const broken = await ended
    if (this.#closed) throw new AnyplaceError('connection-lost', 'The channel was closed before the process ended.')
    if (broken !== undefined) throw broken
    return exitOf(await exitCode())
  }
}

async function exitCodeOf(api: EngineApi, execId: string): Promise<number> {
  const deadline = Date.now() + EXIT_CODE_WAIT_MS
  for (let pauseMs = 2; ; pauseMs = Math.min(pauseMs * 2, 100)) {
    const state = (await api.json('GET', `/exec/${execId}/json`)) as {
      readonly Running: boolean
      readonly ExitCode: number | null
    }
    if (!state.Running && state.ExitCode !== null) return state.ExitCode
    // The engine itself was ended, or cut us off, while the process runs on.
    if (Date.now() > deadline)
      throw new AnyplaceError('connection-lost', 'The engine ended the stream while the process still runs.')
    await delay(pauseMs)
  }
}

function exitOf(code: number): ChannelExit {
  // The engine tells a signal only as 128 + its number, as a shell does; which of the two it was is not known.
  return { exitCode: code, signal: null }
}

/** Writes go to the socket in as few system calls as they came; ending it is end of file for the process. */
function stdinOf(socket: Duplex): Writable {
  const stdin = new Writable({
    decodeStrings: true,
    highWaterMark: 256 * 1024,
    write(chunk: Buffer, _encoding, callback) {
      socket.write(chunk, callback)
    },
    writev(chunks, callback) {
      socket.cork()
      const last = chunks.length - 1
      for (const [index, { chunk }] of chunks.entries()) {
        if (index === last) socket.write(chunk as Buffer, callback)
        else socket.write(chunk as Buffer)
      }
      socket.uncork()
    },
    final(callback) {
      socket.end(() => {
        callback()
      })
    },
  })
  stdin.on('error', () => {})
  socket.once('close', () => {
    stdin.destroy()
  })
  return stdin
}

/** A terminal has one output stream, which the engine sends as it is. */
function terminalStreams(socket: Duplex): Demultiplexed {
  const stderr = new Readable({ read() {} })
  stderr.push(null)
  const stdout = new Readable({
    read() {
      socket.resume()
    },
  })
  stdout.on('error', () => {})
  const ended = new Promise<Error | undefined>((resolve) => {
    const finish = (error: Error | undefined): void => {
      if (error === undefined) stdout.push(null)
      else stdout.destroy(error)
      resolve(error)
    }
    socket.on('data', (chunk: Buffer) => {
      if (!stdout.destroyed && !stdout.push(chunk)) socket.pause()
    })
    socket.once('end', () => {
      finish(undefined)
    })
    socket.once('error', (error) => {
      finish(new AnyplaceError('connection-lost', `The engine's stream broke off: ${error.message}.`))
    })
    socket.once('close', () => {
      if (!stdout.readableEnded) finish(new AnyplaceError('connection-lost', 'The engine closed the stream.'))
    })
  })
  return { stdout, stderr, ended }
}

/** The engine takes JSON, which holds neither NUL nor bytes that are not UTF-8; they would arrive changed. */
function assertCarried(word: string): void {
  if (word.includes('\0') || /[\ud800-\udfff]/u.test(word)) {
    throw new AnyplaceError(
      'invalid-argument',
      `The engine cannot carry ${JSON.stringify(word.slice(0, 100))}: it holds NUL or bytes that are not UTF-8.`,
    )
  }
}
