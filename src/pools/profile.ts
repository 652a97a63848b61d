import type { GpuRequest } from '../spec/index.ts'

/** How a slot is made clean for its next trajectory. */
export type ResetStrategy = 'clean' | 'template' | 'none'

/** What a pool's sandboxes and slots are like. Every field has a value; {@link ProfileInput} is what a user gives. */
export interface PoolProfile {
  readonly name: string
  /** First part of the sandboxes' names. @default 'anyplace' */
  readonly appName: string
  /** Where the sandboxes run: a node, as for `open`. @default the default node */
  readonly on: string | undefined
  /** @default 'python:3.11'; engines without images take theirs instead of the default, and refuse one that was given */
  readonly image: string
  /** Such as `T4` or `H100:2`. None by default. */
  readonly gpu: GpuRequest | undefined
  /** CPUs that each sandbox needs. @default 1 */
  readonly cpu: number
  /** Memory that each sandbox needs, MiB. @default 2048 */
  readonly memoryMiB: number
  /** @default 10 */
  readonly slotsPerSandbox: number
  /** Kept also when idle. @default 1 */
  readonly minSandboxes: number
  /** @default 5 */
  readonly maxSandboxes: number
  /** A sandbox above the minimum ends after this long without a lease. @default 120_000 */
  readonly idleTimeoutMs: number
  /** The platform ends a sandbox at this age; it is drained before. @default 3_600_000 */
  readonly maxLifetimeMs: number
  /** How long `acquire` waits for a slot. @default 60_000 */
  readonly acquireTimeoutMs: number
  /** The default deadline of a command. @default 30_000 */
  readonly executionTimeoutMs: number
  /** Names of secrets for the commands; whoever makes the pool says where the values come from. @default [] */
  readonly secrets: readonly string[]
  /** Environment of every command. @default {} */
  readonly env: Readonly<Record<string, string>>
  /** The slots' homes are below this directory. @default '/data' */
  readonly workspaceBase: string
  /** The isolation between slots that must hold; refused where it cannot be had. @default 'user' */
  readonly isolation: 'user' | 'namespace'
  /** What `release` does to the slot unless told otherwise. @default 'clean' */
  readonly reset: ResetStrategy
  /** A directory inside the sandbox that every slot's home is made from; needed by reset `template`. None by default. */
  readonly template: string | undefined
  /** Processes and threads of one slot. @default 256 */
  readonly processLimit: number
  /** Space of one slot; refused unless a quota really holds. None by default. */
  readonly diskMiB: number | undefined
  /** False: no network but loopback. @default true */
  readonly network: boolean
  /** Sandboxes that may be starting at the same time. @default 4 */
  readonly maxStarting: number
  /** Sandboxes that may be begun in a second. @default 4 */
  readonly createPerSecond: number
}

/** What is given of a profile; what is left out has its default. */
export type ProfileInput = Partial<Omit<PoolProfile, 'name' | 'gpu'>> & { readonly gpu?: string | GpuRequest }

/** Where the value of a field was found. */
export interface ValueOrigin {
  readonly kind: 'default' | 'object' | 'file' | 'environment'
  /** `python:3.11` has none; else such as `profiles.yaml: profiles.gpu.image` or `ATROPOS_MODAL_IMAGE`. */
  readonly source: string
}

/** A profile and where each of its values came from. */
export interface LoadedProfile {
  readonly profile: PoolProfile
  readonly origins: Readonly<Record<Exclude<keyof PoolProfile, 'name'>, ValueOrigin>>
}
