import { AnyplaceError } from '../spec/index.ts'
import type { CallOptions, Engine, Host, HostInfo } from '../spec/index.ts'

/** Where a call looks, and what it does about an engine that does not answer. */
export interface EngineSet {
  readonly engines: readonly Engine[]
  readonly skip: (error: unknown) => undefined
}

/** Asks all engines at once. One that cannot be reached has no sandboxes for us; `check` says why. */
export async function attachIn(
  { engines, skip }: EngineSet,
  nameOrId: string,
  options: CallOptions = {},
): Promise<Host | undefined> {
  const answers = engines.map((engine) => engine.attach(nameOrId, options).catch((error: unknown) => skip(error)))
  const hits = answers.map(async (answer) => {
    const host = await answer
    if (host === undefined) throw new Error('not here')
    return host
  })
  try {
    // The first that has it: the others may be slow to say that they have not.
    return await Promise.any(hits)
  } catch {
    await Promise.all(answers)
    return undefined
  }
}

/** Every engine's sandboxes. */
export async function* listIn({ engines, skip }: EngineSet, options: CallOptions = {}): AsyncIterable<HostInfo> {
  const lists = engines.map(async (engine) => {
    const found: HostInfo[] = []
    try {
      for await (const info of engine.list(options)) found.push(info)
    } catch (error) {
      skip(error)
    }
    return found
  })
  for (const found of await Promise.all(lists)) yield* found
}

/** Removes it wherever it is. */
export async function removeIn({ engines, skip }: EngineSet, id: string, options: CallOptions = {}): Promise<void> {
  const results = await Promise.allSettled(
    engines.map((engine) => engine.remove(id, options).catch((error: unknown) => skip(error))),
  )
  const failed = results.find((result) => result.status === 'rejected')
  if (failed !== undefined) throw failed.reason
}

/** Several engines were asked: one that cannot be reached has nothing for us. */
export function skipUnreachable(error: unknown): undefined {
  if (!AnyplaceError.is(error, 'engine-unavailable')) throw error
}

/** One engine was asked for: that it cannot be reached is the answer. */
export function rethrow(error: unknown): undefined {
  throw error
}
