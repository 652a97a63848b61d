import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Power } from './powers.ts'
import type { OtherClientRequest } from './other-client.ts'
import { startOtherClient } from './other-client-process.ts'
import type { OtherClient } from './other-client-process.ts'
import type { Target, TestedOptions, TestedSandbox } from './target.ts'

/** A variable of the client's environment that no command may ever see. Planted before the first sandbox is opened. */
export const CANARY = {
  name: 'ANYPLACE_CONFORMANCE_CANARY',
  value: `canary-${randomBytes(12).toString('hex')}`,
} as const

/** What a test body works with. What it opens is closed when the test ends. */
export interface Context {
  readonly target: Target
  readonly powers: ReadonlySet<Power>
  /** A sandbox of the test's own. */
  open(options?: TestedOptions): Promise<TestedSandbox>
  /** Options as `open` completes them, for calls that must fail. */
  options(options?: TestedOptions): TestedOptions
  /** A sandbox that the tests of a target share. Leave it as it was found: use `directory()`. */
  box(): Promise<TestedSandbox>
  /** A new empty directory in the shared sandbox, relative to its workdir. */
  directory(): Promise<string>
  /** A new directory on this machine. */
  temporaryDirectory(): Promise<string>
  /** A word that occurs nowhere else. */
  marker(): string
  /** A second client process. */
  otherClient(request: OtherClientRequest): OtherClient
}

/** Keeps what several tests of one target share, and ends it. */
export class SharedBox {
  readonly #target: Target
  #opening: Promise<TestedSandbox> | undefined

  constructor(target: Target) {
    this.#target = target
  }

  /** The shared sandbox; a new one when the last has gone. */
  async box(): Promise<TestedSandbox> {
    if (this.#opening !== undefined) {
      const box = await this.#opening.catch(() => undefined)
      if (
        box !== undefined &&
        (await box.info().then(
          () => true,
          () => false,
        ))
      )
        return box
      await box?.close().catch(() => undefined)
    }
    this.#opening = this.#target.api.open(completeOptions(this.#target, {}))
    return this.#opening
  }

  async close(): Promise<void> {
    await (await this.#opening?.catch(() => undefined))?.close()
  }
}

/** Runs one test body with a context of its own and then closes what it opened. */
export async function withContext(
  target: Target,
  shared: SharedBox,
  body: (context: Context) => Promise<void>,
): Promise<void> {
  const cleanups: (() => Promise<unknown>)[] = []
  const context: Context = {
    target,
    powers: new Set(target.powers),
    options: (options = {}) => completeOptions(target, options),
    async open(options = {}) {
      const box = await target.api.open(completeOptions(target, options))
      cleanups.push(() => box.close())
      return box
    },
    box: () => shared.box(),
    async directory() {
      const box = await shared.box()
      const path = `test-${randomBytes(6).toString('hex')}`
      await box.files.makeDirectory(path)
      cleanups.push(() => box.files.remove(path, { recursive: true, force: true }))
      return path
    },
    async temporaryDirectory() {
      const path = await mkdtemp(join(tmpdir(), 'anyplace-conformance-'))
      cleanups.push(() => rm(path, { recursive: true, force: true }))
      return path
    },
    marker: () => `marker-${randomBytes(8).toString('hex')}`,
    otherClient(request) {
      const client = startOtherClient(target.otherClient, request)
      cleanups.push(() => client.kill())
      return client
    },
  }
  let failure: { readonly error: unknown } | undefined
  try {
    await body(context)
  } catch (error) {
    failure = { error }
  }
  const results = await Promise.allSettled(cleanups.reverse().map((cleanup) => cleanup()))
  if (failure !== undefined) throw failure.error
  const broken = results.find((result) => result.status === 'rejected')
  if (broken !== undefined) throw new Error('The test passed but could not clean up.', { cause: broken.reason })
}

function completeOptions(target: Target, options: TestedOptions): TestedOptions {
  return { on: target.on, timeoutMs: 300_000, ...target.spec, ...options }
}
