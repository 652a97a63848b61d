import type { CallOptions, SandboxSpec } from '../spec/index.ts'

/** What `open` takes. Every field is enforced or refused; one that is not known is refused too. */
export interface SandboxOptions extends SandboxSpec, CallOptions {
  /**
   * Makes `open` idempotent: the same name with the same spec gives the sandbox that runs already, another spec is a
   * `conflict`. A named sandbox belongs to nobody and lives to its lifetime.
   */
  readonly name?: string | undefined
  /** Belongs to nobody and lives to its lifetime, also after this process. @default false */
  readonly detached?: boolean | undefined
  /** Kept with the sandbox and shown by `list`. Keys that begin with `anyplace` are ours. */
  readonly labels?: Readonly<Record<string, string>> | undefined
  /** Values given to each process's environment by the exec daemon; never stored, shown or told to the provider. */
  readonly secrets?: Readonly<Record<string, string>> | undefined
  /** Refused as `unsupported` for now. */
  readonly volumes?: Readonly<Record<string, string>> | undefined
  /** The sandbox ends this long after it was opened. @default 3_600_000 (one hour) */
  readonly timeoutMs?: number | undefined
  /** `extend` never goes beyond this age; the platform enforces it. @default timeoutMs */
  readonly maxLifetimeMs?: number | undefined
  /** Ends it after this long without a process, client request or open stream. None by default. */
  readonly idleTimeoutMs?: number | undefined
  /** Called with short facts on long work, such as `pulling python:3.12-slim`. */
  readonly onProgress?: ((message: string) => void) | undefined
}

/** Fields of SandboxSpec, in the order in which messages name them. */
export const SPEC_FIELDS = [
  'image',
  'cpu',
  'memoryMiB',
  'cpuLimit',
  'memoryLimitMiB',
  'pidsLimit',
  'gpu',
  'env',
  'mounts',
  'workspace',
  'workdir',
  'user',
  'slots',
  'network',
] as const satisfies readonly (keyof SandboxSpec)[]

/** Every option there is; a test holds it against {@link SandboxOptions}. */
export const OPTION_FIELDS = [
  ...SPEC_FIELDS,
  'name',
  'detached',
  'labels',
  'secrets',
  'volumes',
  'timeoutMs',
  'maxLifetimeMs',
  'idleTimeoutMs',
  'signal',
  'onProgress',
] as const satisfies readonly (keyof SandboxOptions)[]
