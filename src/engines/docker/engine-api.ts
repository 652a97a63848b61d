import { Agent, request as httpRequest } from 'node:http'
import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http'
import type { Duplex } from 'node:stream'
import { AnyplaceError } from '../../spec/index.ts'
import type { CallOptions, Machine } from '../../spec/index.ts'
import { abortError, throwIfAborted } from '../../kit/deadline.ts'

/** An answer of the engine that is not a success. Callers translate it; it never leaves this folder untranslated. */
export class EngineApiError extends Error {
  readonly statusCode: number

  constructor(statusCode: number, message: string) {
    super(message)
    this.name = 'EngineApiError'
    this.statusCode = statusCode
  }
}

export interface ApiCallOptions extends CallOptions {
  readonly query?: Readonly<Record<string, string>> | undefined
  readonly body?: unknown
  readonly headers?: OutgoingHttpHeaders | undefined
  /** Longest silence of the engine, not the length of the call. @default 60_000 */
  readonly silenceMs?: number | undefined
}

const MAX_ANSWER_BYTES = 64 * 1024 * 1024
const DEFAULT_SILENCE_MS = 60_000

/**
 * The Engine API of Docker or Podman behind one socket of a machine, over kept-alive connections.
 *
 * Written on node:http and not on dockerode: that needs 140 ms to load (it brings ssh2 and gRPC), half of what a whole
 * `docker run` takes, and it reads the client's environment and files, which are not the machine's.
 *
 * @throws AnyplaceError `engine-unavailable` when the engine cannot be reached or falls silent, `cancelled` or `timeout`
 * @throws EngineApiError when it answers with a failure
 */
export class EngineApi {
  readonly socketPath: string
  readonly #machine: Machine
  readonly #agent: Agent

  constructor(machine: Machine, socketPath: string) {
    this.#machine = machine
    this.socketPath = socketPath
    this.#agent = new MachineAgent(machine, socketPath)
  }

  /** Sends a request and gives the answer's JSON; undefined for an empty answer. */
  async json(method: string, path: string, options: ApiCallOptions = {}): Promise<unknown> {
    const response = await this.stream(method, path, options)
    const text = await readText(response, options.signal)
    if (text.trim() === '') return undefined
    try {
      return JSON.parse(text) as unknown
    } catch (error) {
      throw new AnyplaceError('protocol-error', `${this.#where()} answered ${method} ${path} with broken JSON.`, {
        cause: error,
      })
    }
  }

  /** Sends a request and gives the successful answer as a stream; the caller reads or destroys it. */
  async stream(method: string, path: string, options: ApiCallOptions = {}): Promise<IncomingMessage> {
    const answer = await this.#send(method, path, options, {})
    if (!('response' in answer)) throw new AnyplaceError('protocol-error', `${this.#where()} switched protocols.`)
    return answer.response
  }

  /** Sends a request that turns its connection into a raw two-way stream (`exec start`). */
  async upgrade(path: string, options: ApiCallOptions = {}): Promise<Duplex> {
    const answer = await this.#send('POST', path, options, { Connection: 'Upgrade', Upgrade: 'tcp' })
    if ('socket' in answer) return answer.socket
    answer.response.destroy()
    throw new AnyplaceError('protocol-error', `${this.#where()} did not open a stream for POST ${path}.`, {
      hint: 'A proxy in front of the engine may not pass "Connection: Upgrade" on',
    })
  }

  /** Ends idle connections. Later calls open new ones. */
  close(): void {
    this.#agent.destroy()
  }

  #where(): string {
    return `The engine at ${this.socketPath} on ${this.#machine.label}`
  }

  #send(
    method: string,
    path: string,
    options: ApiCallOptions,
    extraHeaders: OutgoingHttpHeaders,
  ): Promise<{ response: IncomingMessage } | { socket: Duplex }> {
    const { body, headers, query, signal, silenceMs = DEFAULT_SILENCE_MS } = options
    throwIfAborted(signal)
    const payload = body === undefined ? undefined : Buffer.from(JSON.stringify(body))
    const search = query === undefined ? '' : `?${new URLSearchParams(query).toString()}`
    return new Promise((resolve, reject) => {
      const request = httpRequest({
        agent: this.#agent,
        host: 'localhost',
        method,
        path: path + search,
        headers: {
          ...(payload === undefined ? {} : { 'Content-Type': 'application/json' }),
          'Content-Length': payload?.length ?? 0,
          ...headers,
          ...extraHeaders,
        },
        ...(signal === undefined ? {} : { signal }),
      })
      let answered = false
      const silence = setTimeout(() => {
        request.destroy(new Error(`no answer within ${silenceMs} ms`))
      }, silenceMs)
      request.once('close', () => {
        clearTimeout(silence)
      })
      request.on('error', (error: NodeJS.ErrnoException) => {
        clearTimeout(silence)
        if (signal?.aborted) return reject(abortError(signal))
        // A kept connection that the engine closed at the same moment: nothing of the request was read, so ask again.
        const stale = request.reusedSocket && !answered && (error.code === 'ECONNRESET' || error.code === 'EPIPE')
        if (stale && method === 'GET') return resolve(this.#send(method, path, options, extraHeaders))
        if (AnyplaceError.is(error)) return reject(error)
        reject(
          new AnyplaceError('engine-unavailable', `${this.#where()} did not answer: ${error.message}.`, {
            cause: error,
          }),
        )
      })
      request.once('upgrade', (_response: IncomingMessage, socket: Duplex, head: Buffer) => {
        answered = true
        clearTimeout(silence)
        // Errors from here on belong to whoever reads the stream; without a listener they would end the program.
        socket.on('error', () => {})
        if (head.length > 0) socket.unshift(head)
        resolve({ socket })
      })
      request.once('response', (response: IncomingMessage) => {
        answered = true
        clearTimeout(silence)
        response.on('error', () => {})
        const status = response.statusCode ?? 0
        // 304: it is already so (a container that was started or stopped before).
        if ((status >= 200 && status < 300) || status === 304) return resolve({ response })
        readText(response, signal).then(
          (text) => {
            reject(new EngineApiError(status, faultText(text) || `status ${status}`))
          },
          (error: unknown) => {
            reject(error instanceof Error ? error : new Error(String(error)))
          },
        )
      })
      request.end(payload)
    })
  }
}

/** What the engine says went wrong; its answers are JSON with a message, or plain text. */
function faultText(text: string): string {
  try {
    const parsed: unknown = JSON.parse(text)
    if (typeof parsed === 'object' && parsed !== null && 'message' in parsed) return String(parsed.message).trim()
  } catch {
    // Plain text.
  }
  return text.trim().slice(0, 2000)
}

async function readText(response: IncomingMessage, signal: AbortSignal | undefined): Promise<string> {
  const chunks: Buffer[] = []
  let total = 0
  try {
    for await (const chunk of response) {
      const bytes = chunk as Buffer
      total += bytes.length
      if (total > MAX_ANSWER_BYTES) throw new Error(`the answer is longer than ${MAX_ANSWER_BYTES} bytes`)
      chunks.push(bytes)
    }
  } catch (error) {
    if (signal?.aborted) throw abortError(signal)
    const why = error instanceof Error ? error.message : String(error)
    throw new AnyplaceError('engine-unavailable', `The engine's answer broke off: ${why}.`, { cause: error })
  }
  return Buffer.concat(chunks).toString()
}

/** Opens its connections through a machine, so that the engine may be on another one. */
class MachineAgent extends Agent {
  readonly #machine: Machine
  readonly #socketPath: string

  constructor(machine: Machine, socketPath: string) {
    super({ keepAlive: true, maxFreeSockets: 16 })
    this.#machine = machine
    this.#socketPath = socketPath
  }

  override createConnection(_options: object, callback?: (error: Error | null, stream: Duplex) => void): undefined {
    this.#machine.connect(this.#socketPath).then(
      (stream) => callback?.(null, asSocket(stream)),
      (error: unknown) =>
        callback?.(error instanceof Error ? error : new Error(String(error)), undefined as unknown as Duplex),
    )
    return undefined
  }
}

/** The agent calls these on what should be a net.Socket; a stream that comes through another machine lacks them. */
function asSocket(stream: Duplex): Duplex {
  const lacking = stream as Duplex & Record<string, unknown>
  for (const name of ['setKeepAlive', 'setNoDelay', 'setTimeout', 'ref', 'unref']) {
    if (typeof lacking[name] !== 'function') Object.defineProperty(stream, name, { value: () => stream })
  }
  return stream
}
