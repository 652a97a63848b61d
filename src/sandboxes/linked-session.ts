import type { Duplex } from 'node:stream'
import { AnyplaceError } from '../spec/index.ts'
import type {
  Argv,
  AttachOptions,
  CallOptions,
  Files,
  Process,
  ProcessInfo,
  Session,
  SessionInfo,
  Slots,
  SpawnOptions,
  Stats,
} from '../spec/index.ts'
import { start, startTransient } from '../execd/run-process.ts'
import type { OutputSink, TransientProcess, TransientStarter } from '../execd/run-process.ts'
import { newId } from '../kit/ids.ts'
import { LinkedProcess } from './linked-process.ts'
import { linkedFiles } from './linked-files.ts'
import { linkedSlots } from './linked-slots.ts'
import type { Link } from './link.ts'
import type { Redactor } from './redactor.ts'
import { CountingSink, ResumableProcess } from './resumable-process.ts'

/** Of what can be repeated. One that is lost may meet the end of what the link went through, and the next one its beginning. */
const ATTEMPTS = 3

/** A session that outlives its connection, gives the secrets to each process and takes them out of every error. */
export class LinkedSession implements Session, TransientStarter {
  readonly files: Files
  readonly slots: Slots | undefined
  readonly closed: Promise<Error | undefined>
  readonly #link: Link
  readonly #redactor: Redactor
  readonly #secrets: Readonly<Record<string, string>>

  /** `hasSlots`: what the first connection said. */
  constructor(link: Link, redactor: Redactor, secrets: Readonly<Record<string, string>>, hasSlots: boolean) {
    this.#link = link
    this.#redactor = redactor
    this.#secrets = secrets
    this.closed = link.ended
    this.files = linkedFiles((call, options) => this.#call(call, options))
    const explain = (error: unknown): Promise<unknown> => this.#explain(error)
    this.slots = hasSlots ? linkedSlots((call, options) => this.#call(call, options), { secrets, explain }) : undefined
  }

  info(options: CallOptions = {}): Promise<SessionInfo> {
    return this.#call((session) => session.info(options), { ...options, repeatable: true })
  }

  spawn(argv: Argv, options: SpawnOptions = {}): Promise<Process> {
    const env = { ...this.#secrets, ...options.env }
    // With a key, asking twice starts one process, so a link that broke in between does no harm.
    const repeatable = options.key !== undefined
    return this.#call(async (session) => this.#wrap(await session.spawn(argv, { ...options, env })), {
      signal: options.signal,
      repeatable,
    })
  }

  /** How `run` starts a command: one that is found again when the link breaks, also while it starts. */
  async [startTransient](
    argv: Argv,
    options: SpawnOptions,
    sink: OutputSink,
    input: Uint8Array | undefined,
  ): Promise<TransientProcess> {
    const counting = new CountingSink(sink)
    const env = { ...this.#secrets, ...options.env }
    const key = options.key ?? newId()
    const hasInput = input !== undefined || options.stdin === 'pipe'
    let isRepeatable = false
    const process = await this.#call(
      (session) => {
        // Only the daemon knows keys; without one the same command could start twice, and so could its input arrive.
        const isKeyed = startTransient in session
        isRepeatable = isKeyed && !hasInput
        return start(session, argv, { ...options, ...(isKeyed ? { key } : {}), env }, counting.take, input)
      },
      { signal: options.signal, repeatable: () => isRepeatable },
    )
    return new ResumableProcess(
      guarded(process, (error) => this.#explain(error)),
      { session: this, argv, sink: counting, hasInput },
    )
  }

  attach(processId: string, options: AttachOptions = {}): Promise<Process> {
    return this.#call(async (session) => this.#wrap(await session.attach(processId, options)), {
      signal: options.signal,
      repeatable: true,
    })
  }

  processes(options: CallOptions = {}): Promise<readonly ProcessInfo[]> {
    return this.#call((session) => session.processes(options), { ...options, repeatable: true })
  }

  connect(port: number, options: CallOptions = {}): Promise<Duplex> {
    return this.#call((session) => session.connect(port, options), options)
  }

  stats(options: CallOptions = {}): Promise<Stats> {
    return this.#call((session) => session.stats(options), { ...options, repeatable: true })
  }

  extend(timeoutMs: number, options: CallOptions = {}): Promise<Date> {
    return this.#call((session) => session.extend(timeoutMs, options), { ...options, repeatable: true })
  }

  close(): Promise<void> {
    return this.#link.close('is no longer connected here')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #wrap(process: Process): Process {
    return new LinkedProcess(process, (error) => this.#explain(error))
  }

  async #call<T>(
    call: (session: Session) => Promise<T>,
    options: CallOptions & { repeatable?: boolean | (() => boolean) },
  ): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await call(await this.#link.session(options))
      } catch (error) {
        const meaning = await this.#explain(error)
        const repeatable = typeof options.repeatable === 'function' ? options.repeatable() : options.repeatable === true
        if (attempt >= ATTEMPTS || !repeatable || !AnyplaceError.is(meaning, 'connection-lost')) throw meaning
      }
    }
  }

  async #explain(error: unknown): Promise<unknown> {
    return this.#redactor.error(await this.#link.explain(error))
  }
}

function guarded(process: TransientProcess, explain: (error: unknown) => Promise<unknown>): TransientProcess {
  const guard = async <T>(call: Promise<T>): Promise<T> => {
    try {
      return await call
    } catch (error) {
      throw await explain(error)
    }
  }
  return {
    id: process.id,
    stdin: process.stdin,
    finished: () => guard(process.finished()),
    cancel: () => guard(process.cancel()),
  }
}
