import { AnyplaceError } from '../../spec/index.ts'
import type { Argv, CallOptions, Channel, ErrorCode, ExitStatus, OutputLine, Process } from '../../spec/index.ts'
import { untilAborted } from '../../kit/deadline.ts'
import { mergeLines } from './merge-lines.ts'
import { OutputPump } from './output-pump.ts'
import type { Place } from './place.ts'
import { signalName, signalNumber } from './signal-names.ts'
import { stdinStream } from './stdin-stream.ts'
import { KILL_SCRIPT, SIGNAL_SCRIPT, TREE_FUNCTIONS } from './tree-script.ts'
import { DECODE_PARAMETERS } from './parameters.ts'

/** How one command was started; everything that later calls need. */
export interface StartedCommand {
  readonly id: string
  readonly nonce: string
  readonly argv: Argv
  readonly cwd: string
  readonly user: string | undefined
  readonly stdin: 'none' | 'pipe'
  readonly shortSleep: string
  readonly tellsSignals: boolean
}

/** Numbers of the command and of the shell that waits for it, as the place has them. */
interface Numbers {
  readonly pid: number
  readonly shell: string
  readonly shellStarted: string
  /** The session the command leads, or `0`. */
  readonly chief: string
}

const IGNORED = { resolve: (): void => {}, reject: (): void => {} }
const KILL = `${DECODE_PARAMETERS}\nPATH=$PATH:/usr/bin:/bin\n${TREE_FUNCTIONS}\n${KILL_SCRIPT}`
const SIGNAL = `${DECODE_PARAMETERS}\n${TREE_FUNCTIONS}\n${SIGNAL_SCRIPT}`

/** A command in a place without an exec daemon: one exec of the platform, wrapped by the command script. */
export class PlatformProcess implements Process {
  readonly id: string
  readonly argv: Argv
  readonly fromOffset = { stdout: 0, stderr: 0 } as const
  readonly startedAt: Date = new Date()
  readonly stdin?: WritableStream<Uint8Array>
  /** Settles once the command runs, with an error when it could not be started. */
  readonly started: Promise<void>
  readonly #place: Place
  readonly #channel: Channel
  readonly #command: StartedCommand
  readonly #stdout: OutputPump
  readonly #stderr: OutputPump
  readonly #exit: Promise<ExitStatus>
  readonly #startedMs = performance.now()
  readonly #sentSignals = new Set<number>()
  #numbers: Numbers | undefined
  #settleStart: (failure?: AnyplaceError) => void = () => {}
  #settleExit: { resolve: (status: ExitStatus) => void; reject: (error: unknown) => void } = IGNORED
  #status: ExitStatus | undefined
  #isDetached = false
  #waiters = 0

  constructor(place: Place, channel: Channel, command: StartedCommand) {
    this.#place = place
    this.#channel = channel
    this.#command = command
    this.id = command.id
    this.argv = command.argv
    this.started = new Promise((resolve, reject) => {
      this.#settleStart = (failure) => (failure === undefined ? resolve() : reject(failure))
    })
    this.started.catch(() => {})
    this.#exit = new Promise((resolve, reject) => {
      this.#settleExit = { resolve, reject }
    })
    this.#exit.catch(() => {})
    const { nonce } = command
    const onMark = (words: readonly string[]): void => {
      this.#onMark(words)
    }
    this.#stderr = new OutputPump(channel.stderr, { nonce, startsAt: 'mark', onMark })
    this.#stdout = new OutputPump(channel.stdout, { nonce, startsAt: 'once', onMark: () => {} })
    if (command.stdin === 'pipe') this.stdin = stdinStream(channel.stdin, this.#exit)
    else channel.stdin.end()
    void this.#watch()
  }

  get pid(): number {
    return this.#numbers?.pid ?? 0
  }

  get stdout(): ReadableStream<Uint8Array> {
    return this.#stdout.stream
  }

  get stderr(): ReadableStream<Uint8Array> {
    return this.#stderr.stream
  }

  /** Undefined while it runs. */
  get status(): ExitStatus | undefined {
    return this.#status
  }

  lines(): AsyncIterable<OutputLine> {
    return mergeLines(this.stdout, this.stderr)
  }

  /** Settles when it has ended or the connection to it has. Never rejects. */
  get ended(): Promise<unknown> {
    return this.#exit.catch(() => {})
  }

  /** Throws output away that nobody is reading. */
  discard(): void {
    this.#stdout.drop()
    this.#stderr.drop()
  }

  async wait(options: CallOptions = {}): Promise<ExitStatus> {
    this.#waiters++
    // A reader that starts in this turn of the event loop still gets everything.
    setImmediate(() => {
      if (this.#waiters > 0) this.discard()
    })
    try {
      return await untilAborted(this.#exit, options.signal)
    } finally {
      this.#waiters--
      if (this.#waiters === 0) {
        this.#stdout.keep()
        this.#stderr.keep()
      }
    }
  }

  async signal(name = 'SIGTERM'): Promise<void> {
    const number = signalNumber(name)
    if (number === undefined) {
      throw new AnyplaceError('invalid-argument', `There is no signal ${JSON.stringify(name)}.`, { field: 'name' })
    }
    const numbers = this.#numbers
    if (this.#status !== undefined || numbers === undefined) throw this.#ended()
    this.#sentSignals.add(number)
    const words = [name.replace(/^SIG/, ''), `${numbers.pid}`, numbers.shell, numbers.shellStarted, numbers.chief]
    const { exitCode, stderr } = await this.#place.ask(SIGNAL, words, { user: this.#command.user })
    if (exitCode === 4) throw this.#ended()
    if (exitCode !== 0) {
      throw new AnyplaceError(
        'permission-denied',
        `Cannot send ${name} to process ${this.id}: ${stderr.slice(0, 300)}.`,
      )
    }
  }

  async kill(): Promise<void> {
    const { shell = '0', shellStarted = '0', chief = '0' } = this.#numbers ?? {}
    this.#stdout.takeAll()
    this.#stderr.takeAll()
    const words = [this.id, shell, shellStarted, chief, this.#command.shortSleep]
    const { exitCode, stderr } = await this.#place.ask(KILL, words, { user: this.#command.user })
    if (exitCode !== 0) {
      throw new AnyplaceError(
        'internal',
        `Process ${this.id} could not be killed: some of its tree survives${stderr === '' ? '' : ` (${stderr.slice(0, 300)})`}.`,
        { hint: 'it may run as another user; close the sandbox' },
      )
    }
  }

  resize(_columns: number, _rows: number): Promise<void> {
    return Promise.reject(new AnyplaceError('unsupported', `Process ${this.id} has no terminal.`))
  }

  async detach(): Promise<void> {
    if (this.#status === undefined && !this.#isDetached) {
      this.#isDetached = true
      const failure = new AnyplaceError('cancelled', `Process ${this.id} was detached; it runs on.`)
      this.#settleStart(failure)
      this.#settleExit.reject(failure)
      this.#stdout.finish()
      this.#stderr.finish()
    }
    await this.#place.release(this.#channel)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.detach()
  }

  #onMark(words: readonly string[]): void {
    const [kind, first = '', second = '0', third = '0', fourth = '0'] = words
    if (kind === 'start') {
      this.#numbers = { pid: Number(first), shell: second, shellStarted: third, chief: fourth }
      this.#settleStart()
    } else if (kind === 'cwd') {
      this.#settleStart(cwdError(first, this.#command.cwd))
    } else if (kind === 'end') {
      this.#settle(Number(first), { isSignal: second === '1', timedOut: third === '1', outOfMemory: fourth === '1' })
    }
  }

  #settle(
    code: number,
    facts: { readonly isSignal: boolean; readonly timedOut: boolean; readonly outOfMemory: boolean },
  ): void {
    const number = code - 128
    const isSignal =
      number > 0 && number < 65 && (facts.isSignal || this.#sentSignals.has(number) || !this.#command.tellsSignals)
    this.#status = {
      exitCode: facts.timedOut ? 124 : code,
      signal: isSignal ? signalName(number) : null,
      timedOut: facts.timedOut,
      oomKilled: facts.outOfMemory && code === 137 && !facts.timedOut,
      durationMs: Math.round(performance.now() - this.#startedMs),
    }
    this.#settleExit.resolve(this.#status)
  }

  /** Ends everything once both outputs are complete, or once the platform says that the wrapper is gone. */
  async #watch(): Promise<void> {
    const [stdoutComplete, stderrComplete] = await Promise.all([this.#stdout.ended, this.#stderr.ended])
    if (this.#isDetached) return
    let failure: AnyplaceError | undefined
    if (!stderrComplete || !stdoutComplete) failure = await this.#whyIncomplete(stderrComplete)
    if (this.#status === undefined) this.#settleExit.reject(failure)
    if (failure !== undefined) this.#settleStart(failure)
    this.#stdout.finish(failure)
    this.#stderr.finish(failure)
    await this.#place.release(this.#channel)
  }

  async #whyIncomplete(hasStatus: boolean): Promise<AnyplaceError | undefined> {
    try {
      const { exitCode, signal } = await this.#channel.exit
      const code = exitCode ?? 128 + (signalNumber(signal ?? 'SIGKILL') ?? 9)
      if (this.#numbers === undefined) {
        return new AnyplaceError(
          'internal',
          `The place could not start a command: its shell ended with exit code ${code}.`,
          {
            hint: 'the sandbox may be out of processes or memory',
            retryable: true,
          },
        )
      }
      if (!hasStatus && code > 128) {
        // The shell around the command was killed too: alone, or with the whole place.
        if ((await this.#place.ask('exit 0', [])).exitCode !== 0) {
          return new AnyplaceError('connection-lost', `Process ${this.id} was lost: its place runs nothing any more.`)
        }
        // Alone, so the platform's word is all there is.
        this.#settle(code, { isSignal: true, timedOut: false, outOfMemory: false })
        return undefined
      }
      return new AnyplaceError('connection-lost', `The last output of process ${this.id} was lost on its way.`)
    } catch (error) {
      if (AnyplaceError.is(error)) return error
      return new AnyplaceError('connection-lost', `The connection to process ${this.id} broke.`, { cause: error })
    }
  }

  #ended(): AnyplaceError {
    return new AnyplaceError('process-not-found', `Process ${this.id} has ended.`)
  }
}

function cwdError(reason: string, cwd: string): AnyplaceError {
  const codes: readonly ErrorCode[] = ['permission-denied', 'not-a-directory']
  const code = codes.find((known) => known === reason) ?? 'file-not-found'
  return new AnyplaceError(
    code,
    `Cannot run in the directory ${JSON.stringify(cwd)}: ${reason.replaceAll('-', ' ')}.`,
    {
      field: 'cwd',
    },
  )
}
