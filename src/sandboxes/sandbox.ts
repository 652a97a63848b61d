import type { Duplex } from 'node:stream'
import { inspect } from 'node:util'
import { AnyplaceError } from '../spec/index.ts'
import type {
  Argv,
  AttachOptions,
  CallOptions,
  Files,
  Host,
  HostInfo,
  Process,
  ProcessInfo,
  RunOptions,
  RunResult,
  Session,
  SessionInfo,
  Slots,
  SpawnOptions,
  Stats,
} from '../spec/index.ts'
import { runProcess } from '../execd/run-process.ts'
import { Artifacts } from './artifacts.ts'
import { wholeNumber } from './field-checks.ts'
import { forwardPort } from './forward.ts'
import type { Forward, ForwardOptions } from './forward.ts'
import type { Link } from './link.ts'
import { LinkedSession } from './linked-session.ts'
import { Redactor } from './redactor.ts'
import { Sync } from './sync/sync.ts'

/** All that is known of a sandbox: from its platform and from its exec daemon. `expiresAt` is the true end. */
export type SandboxInfo = HostInfo & Omit<SessionInfo, 'expiresAt'>

/** What a Sandbox is made of. Users get one from `open` or `attach`. */
export interface SandboxParts {
  readonly link: Link
  readonly workdir: string
  readonly secrets: Readonly<Record<string, string>>
  /** True when it can hold slots. */
  readonly hasSlots: boolean
  /** True when disposal ends the sandbox; false when it only lets go. */
  readonly endsOnDispose: boolean
}

/**
 * One isolated place with processes, files and ports. Relative paths resolve against `workdir` everywhere.
 *
 * `await using` ends a sandbox that this client opened without `name` and `detached`, and only lets go of any other.
 */
export class Sandbox implements AsyncDisposable {
  readonly id: string
  readonly name: string
  /** Where commands start; absolute, inside the sandbox. */
  readonly workdir: string
  /** Processes, files and ports at the lowest level; `run` and the rest stand on it. Connects again after a lost link. */
  readonly session: Session
  readonly files: Files
  /** Isolated workspaces in this sandbox, each with a user of its own; undefined where there can be none. */
  readonly slots: Slots | undefined
  /** Results under one root (the workdir), with checksums; nothing outside it is reached. */
  readonly artifacts: Artifacts
  /** Trees made alike in either direction, moving only what differs. */
  readonly sync: Sync
  readonly #host: Host
  readonly #link: Link
  readonly #redactor: Redactor
  readonly #secretNames: readonly string[]
  readonly #endsOnDispose: boolean
  readonly #forwards = new Set<Forward>()
  #closing: Promise<void> | undefined

  constructor(parts: SandboxParts) {
    this.#link = parts.link
    this.#host = parts.link.host
    this.#redactor = new Redactor(parts.secrets)
    this.#secretNames = Object.keys(parts.secrets).sort()
    this.#endsOnDispose = parts.endsOnDispose
    this.id = this.#host.id
    this.name = this.#host.name
    this.workdir = parts.workdir
    this.session = new LinkedSession(parts.link, this.#redactor, parts.secrets, parts.hasSlots)
    this.files = this.session.files
    this.slots = this.session.slots
    this.artifacts = new Artifacts(this.files, this.workdir)
    this.sync = new Sync(this.session, this.#host.provider === 'ssh')
  }

  /**
   * Runs a command to its end and gives what it printed. Resolves whatever the exit code; 124 after its deadline
   * (`timedOut`), 130 when `signal` aborted it, in both cases with the partial output.
   *
   * @throws CommandError with `check` on a non-zero exit; AnyplaceError `cancelled` when aborted before the start,
   *   `command-not-found`, `connection-lost` when the end is unknown, `sandbox-gone`
   */
  async run(argv: Argv, options: RunOptions = {}): Promise<RunResult> {
    try {
      return await runProcess(this.session, argv, options)
    } catch (error) {
      throw this.#redactor.error(error)
    }
  }

  /** As {@link run}, for a text that `/bin/sh -c` reads. */
  shell(text: string, options: RunOptions = {}): Promise<RunResult> {
    return this.run(['/bin/sh', '-c', text], options)
  }

  /** Starts a process and gives its handle. The process outlives handle and client; `attach` finds it again. */
  spawn(argv: Argv, options: SpawnOptions = {}): Promise<Process> {
    return this.session.spawn(argv, options)
  }

  /** The handle of a process started earlier, with its output replayed. @throws AnyplaceError `process-not-found`, `output-discarded` */
  attach(processId: string, options: AttachOptions = {}): Promise<Process> {
    return this.session.attach(processId, options)
  }

  processes(options: CallOptions = {}): Promise<readonly ProcessInfo[]> {
    return this.session.processes(options)
  }

  /** A TCP connection to a port inside, also with the network off. */
  connect(port: number, options: CallOptions = {}): Promise<Duplex> {
    return this.session.connect(port, options)
  }

  /** Makes a port inside reachable at 127.0.0.1 here, until the forward or this object is closed. */
  async forward(remotePort: number, options: ForwardOptions = {}): Promise<Forward> {
    const forward = await forwardPort(this.session, remotePort, {
      ...options,
      onClose: () => this.#forwards.delete(forward),
    })
    this.#forwards.add(forward)
    return forward
  }

  stats(options: CallOptions = {}): Promise<Stats> {
    return this.session.stats(options)
  }

  /**
   * Moves the end to `timeoutMs` from now and gives the new end: never earlier than it was, never beyond the age of
   * maxLifetimeMs, so compare what it gives.
   *
   * @throws AnyplaceError `invalid-argument` unless timeoutMs is a whole number above 0; `sandbox-gone` once the end has come
   */
  async extend(timeoutMs: number, options: CallOptions = {}): Promise<Date> {
    const fault = wholeNumber(timeoutMs)
    if (fault !== undefined) {
      throw new AnyplaceError('invalid-argument', `timeoutMs ${fault}.`, { field: 'timeoutMs' })
    }
    return this.session.extend(timeoutMs, options)
  }

  async info(options: CallOptions = {}): Promise<SandboxInfo> {
    const inside = await this.session.info(options)
    try {
      const outside = await this.#host.info(options)
      return { ...outside, ...inside, expiresAt: inside.expiresAt ?? outside.expiresAt }
    } catch (error) {
      throw this.#redactor.error(await this.#link.explain(error))
    }
  }

  /** Ends the sandbox and all that is in it. Idempotent; also when it has gone already. */
  close(options: CallOptions = {}): Promise<void> {
    this.#closing ??= this.#end(options).catch((error: unknown) => {
      // What was not removed can be tried again.
      this.#closing = undefined
      throw this.#redactor.error(error)
    })
    return this.#closing
  }

  /** Lets go of the sandbox, which lives on to its lifetime. Idempotent. */
  async detach(): Promise<void> {
    await this.#closeForwards()
    await this.#link.close('was let go of here; attach to it again')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await (this.#endsOnDispose ? this.close() : this.detach())
  }

  /** What may be shown of it: no secret, no connection. */
  toJSON(): { readonly id: string; readonly name: string; readonly provider: string; readonly workdir: string } {
    return { id: this.id, name: this.name, provider: this.#host.provider, workdir: this.workdir }
  }

  [inspect.custom](): string {
    const secrets = this.#secretNames.map((name) => `${name}=***`)
    return `Sandbox ${inspect({ ...this.toJSON(), ...(secrets.length > 0 ? { secrets } : {}) })}`
  }

  async #end(options: CallOptions): Promise<void> {
    await this.#closeForwards()
    // Not connected any more is as good as closed; the place itself is what must go.
    await this.#link.close('was closed').catch(() => undefined)
    await this.#host.close(options)
  }

  async #closeForwards(): Promise<void> {
    await Promise.all([...this.#forwards].map((forward) => forward.close()))
  }
}
