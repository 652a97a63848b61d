import { abortError, throwIfAborted } from '../../kit/deadline.ts'
import type { ChildChannel } from '../../kit/child-channel.ts'
import { collectBytes } from '../../kit/collect.ts'
import { utf8Lossy } from '../../kit/text-bytes.ts'
import { quoteArgv, quoteShell } from '../../kit/quote.ts'
import { AnyplaceError } from '../../spec/index.ts'
import type { CallOptions, Channel } from '../../spec/index.ts'
import { shellCommand } from './host-script.ts'
import { startMaster, startSession } from './master.ts'
import type { Master } from './master.ts'
import { place } from './ssh-failure.ts'
import type { PrivateKey, SshTarget } from './ssh-target.ts'

/** OpenSSH's own limit of sessions for one connection; a server with a lower one says so when it is reached. */
const SESSIONS = 10
const MOST_MASTERS = 20
/** Exit code of a session whose command was not started, since what it needs is gone. */
const GONE = 76
const MARK = Buffer.from('\u0001anyplace-session\u0001')
const MAX_NOISE_BYTES = 64 * 1024

interface Line {
  readonly master: Master
  sessions: number
  /** What the server allowed when it refused one more. */
  limit: number
}

/**
 * One ssh session for each process, for hosts without a daemon. A server allows only some sessions over one connection, so
 * there are as many connections as the sessions at a time need; each ends itself when it is unused.
 */
export class SessionPool {
  readonly #target: SshTarget
  readonly #key: () => Promise<PrivateKey | undefined>
  readonly #lines: Line[]
  #growing: Promise<void> | undefined

  constructor(target: SshTarget, first: Master, key: () => Promise<PrivateKey | undefined>) {
    this.#target = target
    this.#key = key
    this.#lines = [{ master: first, sessions: 0, limit: SESSIONS }]
  }

  /**
   * Starts a process on the host, through sh. The environment is what the server gives. With `needs` it is not started
   * where that file is not.
   *
   * @throws AnyplaceError `file-not-found` for what it needs, `resource-exhausted`, `connection-lost`, and what connecting fails with
   */
  async run(argv: readonly string[], options: CallOptions & { readonly needs?: string } = {}): Promise<Channel> {
    const { needs } = options
    const check = needs === undefined ? '' : `[ -e ${quoteShell(needs)} ] || exit ${GONE}\n`
    const script = `${check}printf '\\001anyplace-session\\001'\nexec ${quoteArgv(argv)}\n`
    const { command, input } = shellCommand(script, new Uint8Array())
    for (;;) {
      throwIfAborted(options.signal)
      const line = this.#free()
      if (line === undefined) {
        await this.#grow()
        continue
      }
      line.sessions++
      let channel: ChildChannel | undefined
      try {
        channel = await startSession(line.master, command, options)
        const outcome = await begun(channel, input, options.signal)
        if (outcome === 'begun') return this.#counted(channel, line)
        line.sessions--
        await channel.close()
        if (outcome === 'full') line.limit = Math.max(1, line.sessions)
        else this.#drop(line)
        if (outcome === 'full' && line.sessions === 0) this.#drop(line)
      } catch (error) {
        line.sessions--
        await channel?.close()
        throw error
      }
    }
  }

  #free(): Line | undefined {
    return this.#lines.find((line) => line.sessions < line.limit)
  }

  #drop(line: Line): void {
    const index = this.#lines.indexOf(line)
    if (index >= 0) this.#lines.splice(index, 1)
  }

  #grow(): Promise<void> {
    this.#growing ??= this.#connect().finally(() => (this.#growing = undefined))
    return this.#growing
  }

  async #connect(): Promise<void> {
    if (this.#lines.length >= MOST_MASTERS)
      throw new AnyplaceError(
        'resource-exhausted',
        `${place(this.#target, undefined)} has ${MOST_MASTERS} connections with all their sessions in use.`,
        { hint: 'run fewer commands at once, or install Python 3.9 on the host: then one session carries them all' },
      )
    const master = await startMaster(this.#target, await this.#key())
    this.#lines.push({ master, sessions: 0, limit: SESSIONS })
  }

  #counted(channel: ChildChannel, line: Line): Channel {
    let isCounted = true
    const done = (): void => {
      if (isCounted) line.sessions--
      isCounted = false
    }
    channel.exit.then(done, done)
    let hasExited = false
    channel.exit.then(
      () => (hasExited = true),
      () => (hasExited = true),
    )
    /** A process outlives its handle: it would die of its first line of output if nobody took that any more. */
    const close = async (): Promise<void> => {
      if (hasExited) return channel.close()
      channel.stdin.end()
      for (const stream of [channel.stdout, channel.stderr]) stream.removeAllListeners('data').resume()
      channel.unref()
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
}

/** Waits until the host runs our command. Before that nothing has happened there, so another try does no harm. */
async function begun(
  channel: ChildChannel,
  input: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<'begun' | 'full' | 'dead'> {
  const { stdout } = channel
  channel.stdin.write(input)
  let bytes = Buffer.alloc(0)
  const isBegun = await new Promise<boolean>((resolve) => {
    const settle = (result: boolean): void => {
      stdout.off('readable', look)
      for (const event of ['end', 'error', 'close']) stdout.off(event, ended)
      signal?.removeEventListener('abort', ended)
      resolve(result)
    }
    const ended = (): void => settle(false)
    const look = (): void => {
      for (let chunk = stdout.read() as Buffer | null; chunk !== null; chunk = stdout.read() as Buffer | null) {
        bytes = Buffer.concat([bytes, chunk])
        const at = bytes.indexOf(MARK)
        if (at >= 0) {
          const rest = bytes.subarray(at + MARK.byteLength)
          if (rest.byteLength > 0) stdout.unshift(rest)
          return settle(true)
        }
        if (bytes.byteLength > MAX_NOISE_BYTES) return settle(false)
      }
    }
    stdout.on('readable', look)
    for (const event of ['end', 'error', 'close']) stdout.on(event, ended)
    signal?.addEventListener('abort', ended, { once: true })
    look()
  })
  // Nothing of stderr is read before: it may be the command's already.
  if (isBegun) return 'begun'
  if (signal?.aborted) throw abortError(signal)
  const { exitCode } = await channel.exit
  const said = utf8Lossy(await collectBytes(channel.stderr, { maxBytes: MAX_NOISE_BYTES }))
  if (/Session open refused by peer|administratively prohibited|open failed/i.test(said)) return 'full'
  if (exitCode === 255 || exitCode === null) return 'dead'
  if (exitCode === GONE) throw new AnyplaceError('file-not-found', 'What the command needs is not on the host.')
  throw new AnyplaceError(
    'connection-lost',
    `A session ended (exit code ${exitCode}) before its command began: ${said.trim()}`,
  )
}
