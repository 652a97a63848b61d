import type {
  Argv,
  AttachOptions,
  CallOptions,
  Files,
  HostInfo,
  Process,
  ProcessInfo,
  RunOptions,
  RunResult,
  SandboxSpec,
  SessionInfo,
  SpawnOptions,
  Stats,
} from '../src/spec/index.ts'
import type { Duplex } from 'node:stream'
import type { Power } from './powers.ts'

/** What the suite opens a sandbox with: a spec, its lifetime and its name. */
export interface TestedOptions extends SandboxSpec {
  readonly on?: string | undefined
  readonly name?: string | undefined
  readonly detached?: boolean | undefined
  readonly labels?: Readonly<Record<string, string>> | undefined
  readonly secrets?: Readonly<Record<string, string>> | undefined
  readonly timeoutMs?: number | undefined
  readonly maxLifetimeMs?: number | undefined
  readonly idleTimeoutMs?: number | undefined
  readonly signal?: AbortSignal | undefined
}

/** What the suite uses of a sandbox. `Sandbox` of the library fits it. */
export interface TestedSandbox extends AsyncDisposable {
  readonly id: string
  readonly name: string
  readonly workdir: string
  readonly files: Files
  run(argv: Argv, options?: RunOptions): Promise<RunResult>
  shell(text: string, options?: RunOptions): Promise<RunResult>
  spawn(argv: Argv, options?: SpawnOptions): Promise<Process>
  attach(processId: string, options?: AttachOptions): Promise<Process>
  processes(options?: CallOptions): Promise<readonly ProcessInfo[]>
  connect(port: number, options?: CallOptions): Promise<Duplex>
  forward(
    port: number,
    options?: CallOptions & { readonly localPort?: number },
  ): Promise<{ readonly localPort: number; close(): Promise<void> }>
  stats(options?: CallOptions): Promise<Stats>
  extend(timeoutMs: number, options?: CallOptions): Promise<Date>
  info(options?: CallOptions): Promise<HostInfo & SessionInfo>
  close(options?: CallOptions): Promise<void>
  detach(): Promise<void>
}

/** The library's own functions, handed in so that the suite imports none of it. */
export interface TestedApi {
  open(options: TestedOptions): Promise<TestedSandbox>
  attach(nameOrId: string, options?: CallOptions & { readonly on?: string }): Promise<TestedSandbox>
  list(options?: CallOptions & { readonly on?: string }): AsyncIterable<HostInfo>
  gc(options?: CallOptions & { readonly on?: string; readonly dryRun?: boolean }): Promise<unknown>
  remove(nameOrId: string, options?: CallOptions & { readonly on?: string }): Promise<unknown>
}

/** Whether a target can be used now. */
export type Reach =
  | { readonly reached: true; readonly note?: string }
  | { readonly reached: false; readonly why: string; readonly howToEnable: string }

/** One provider and engine under test. */
export interface Target {
  /** `docker`, `direct` …; ANYPLACE_EXPECT names it. */
  readonly name: string
  /** As a user writes it: `local/docker`. */
  readonly on: string
  /** What `info().provider` says. @default the first part of `on` */
  readonly provider?: string | undefined
  readonly api: TestedApi
  readonly powers: readonly Power[]
  /** What every sandbox of the suite is opened with, such as an image. */
  readonly spec?: TestedOptions | undefined
  /** Requirements that do not hold yet, each with the reason. One that passes fails the run until its note is gone. */
  readonly knownFailures?: Readonly<Record<string, string>> | undefined
  reach(): Promise<Reach>
  /** argv of a program that calls `otherClient` with the same api: a second client process. */
  readonly otherClient: Argv
  /** Everything that exists of those sandboxes on the platform, one line each: containers, processes, directories, sockets. */
  leftovers(...sandboxIds: readonly string[]): Promise<readonly string[]>
  /** All text outside the sandbox where a secret could have got to: the platform's record, argv of processes, state files. */
  records(sandboxId: string): Promise<string>
  /** How many sandboxes `lifecycle:many-at-once` opens together. @default 100 */
  readonly manyAtOnce?: number | undefined
}
