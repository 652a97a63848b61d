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
  SpawnOptions,
  Stats,
} from '../spec/index.ts'
import { LinkedProcess } from './linked-process.ts'
import { linkedFiles } from './linked-files.ts'
import type { Link } from './link.ts'
import type { Redactor } from './redactor.ts'

/** A session that outlives its connection, gives the secrets to each process and takes them out of every error. */
export class LinkedSession implements Session {
  readonly files: Files
  readonly closed: Promise<Error | undefined>
  readonly #link: Link
  readonly #redactor: Redactor
  readonly #secrets: Readonly<Record<string, string>>

  constructor(link: Link, redactor: Redactor, secrets: Readonly<Record<string, string>>) {
    this.#link = link
    this.#redactor = redactor
    this.#secrets = secrets
    this.closed = link.ended
    this.files = linkedFiles((call, options) => this.#call(call, options))
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

  async #call<T>(call: (session: Session) => Promise<T>, options: CallOptions & { repeatable?: boolean }): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await call(await this.#link.session(options))
      } catch (error) {
        const meaning = await this.#explain(error)
        if (attempt > 1 || options.repeatable !== true || !AnyplaceError.is(meaning, 'connection-lost')) throw meaning
      }
    }
  }

  async #explain(error: unknown): Promise<unknown> {
    return this.#redactor.error(await this.#link.explain(error))
  }
}
