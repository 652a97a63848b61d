import type { CallOptions, Files, GpuRequest, Slots } from '../spec/index.ts'
import type { Artifacts } from '../sandboxes/artifacts.ts'

/** What a pool needs of a sandbox; a `Sandbox` is one. */
export interface PooledSandbox {
  readonly id: string
  readonly name: string
  readonly workdir: string
  readonly files: Files
  readonly artifacts: Artifacts
  readonly slots?: Slots | undefined
  readonly session: {
    readonly closed: Promise<Error | undefined>
    info(options?: CallOptions): Promise<unknown>
  }
  info(options?: CallOptions): Promise<{ readonly createdAt: Date; readonly expiresAt: Date }>
  close(options?: CallOptions): Promise<void>
  detach(): Promise<void>
}

/** The sandbox that a pool asks for. */
export interface PooledSandboxRequest extends CallOptions {
  readonly on?: string
  readonly name: string
  readonly image?: string
  readonly gpu?: GpuRequest
  readonly cpu: number
  readonly memoryMiB: number
  readonly env?: Readonly<Record<string, string>>
  readonly secrets?: Readonly<Record<string, string>>
  readonly network?: boolean
  /** How many slots it may hold, replacements for quarantined ones included. */
  readonly slots: number
  readonly timeoutMs: number
  readonly maxLifetimeMs: number
  readonly labels: Readonly<Record<string, string>>
}

/** Where a pool's sandboxes come from: the library's `open` and `remove`. */
export interface SandboxSource {
  open(request: PooledSandboxRequest): Promise<PooledSandbox>
  remove(name: string, options: CallOptions & { readonly on?: string }): Promise<void>
}
