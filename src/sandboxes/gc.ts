import { AnyplaceError } from '../spec/index.ts'
import type { CallOptions, HostInfo, Provider } from '../spec/index.ts'
import { deadlineSignal } from '../kit/deadline.ts'
import { Link } from './link.ts'
import type { SessionOpener } from './open-session.ts'
import { ownerState } from './owner.ts'

const PARALLEL = 8
const ASK_DEADLINE_MS = 5_000

export interface GcOptions extends CallOptions {
  /** Only tells what would be removed. @default false */
  readonly dryRun?: boolean | undefined
}

/** One sandbox of a report, with the reason for what was done. */
export interface GcEntry {
  readonly id: string
  readonly name: string
  readonly engine?: string | undefined
  readonly reason: string
}

export interface GcReport {
  readonly dryRun: boolean
  /** With dryRun: what would be removed. */
  readonly removed: readonly GcEntry[]
  readonly kept: readonly GcEntry[]
  /** Should be removed, but that failed; the reason is the failure's. */
  readonly failed: readonly GcEntry[]
}

export interface GcContext {
  readonly provider: Provider
  /** Looks only at sandboxes of this engine. */
  readonly engine?: string | undefined
  readonly openSession?: SessionOpener | undefined
  /** Replaced in tests. */
  readonly ownerState?: typeof ownerState
}

/**
 * Removes sandboxes that have ended, that have outlived their lifetime, and those whose owner is proven dead. What
 * cannot be proven is kept: another machine's sandbox goes only by its lifetime.
 */
export async function collectGarbage(context: GcContext, options: GcOptions = {}): Promise<GcReport> {
  const { dryRun = false, signal } = options
  const removed: GcEntry[] = []
  const kept: GcEntry[] = []
  const failed: GcEntry[] = []

  async function consider(info: HostInfo): Promise<void> {
    const entry = { id: info.id, name: info.name, ...(info.engine === undefined ? {} : { engine: info.engine }) }
    const verdict = await judge(context, info, options)
    if (!verdict.remove) {
      kept.push({ ...entry, reason: verdict.reason })
      return
    }
    try {
      if (!dryRun) await context.provider.remove(info.id, { signal })
      removed.push({ ...entry, reason: verdict.reason })
    } catch (error) {
      signal?.throwIfAborted()
      failed.push({ ...entry, reason: error instanceof Error ? error.message : String(error) })
    }
  }

  const running = new Set<Promise<void>>()
  let fault: { readonly error: unknown } | undefined
  try {
    for await (const info of context.provider.list({ signal })) {
      if (context.engine !== undefined && info.engine !== context.engine) continue
      const work = consider(info)
        // Heard of below: the listing may be waiting for the platform just now.
        .catch((error: unknown) => void (fault ??= { error }))
        .finally(() => running.delete(work))
      running.add(work)
      if (running.size >= PARALLEL) await Promise.race(running)
      if (fault !== undefined) break
    }
  } finally {
    await Promise.all(running)
  }
  if (fault !== undefined) throw fault.error
  return { dryRun, removed, kept, failed }
}

interface Verdict {
  readonly remove: boolean
  readonly reason: string
}

async function judge(context: GcContext, info: HostInfo, options: CallOptions): Promise<Verdict> {
  if (info.state === 'exited') return { remove: true, reason: info.reason ? `ended: ${info.reason}` : 'ended' }
  const owner = info.owner
  const state = owner === undefined ? undefined : await (context.ownerState ?? ownerState)(owner)
  if (owner !== undefined && state === 'dead')
    return { remove: true, reason: `its owner, process ${owner.pid}, is gone` }
  if (info.expiresAt.getTime() <= Date.now()) return expiry(context, info, options)
  const until = `lives until ${info.expiresAt.toISOString()}`
  if (owner === undefined) return { remove: false, reason: until }
  if (state === 'alive') return { remove: false, reason: `belongs to process ${owner.pid}, which runs` }
  const who = `process ${owner.pid} on ${owner.hostname}`
  return { remove: false, reason: `belongs to ${who}, which cannot be seen from here; ${until}` }
}

/** The platform may not know that a sandbox was extended, so the sandbox itself is asked. */
async function expiry(context: GcContext, info: HostInfo, options: CallOptions): Promise<Verdict> {
  const signal = deadlineSignal(ASK_DEADLINE_MS, options.signal)
  const reason = `its lifetime ended at ${info.expiresAt.toISOString()}`
  let link: Link | undefined
  try {
    const host = await context.provider.attach(info.id, { signal })
    if (host === undefined) return { remove: true, reason }
    link = new Link(host, context.openSession)
    const { expiresAt } = await (await link.session({ signal })).info({ signal })
    const isExtended = expiresAt !== undefined && expiresAt.getTime() > Date.now()
    return isExtended
      ? { remove: false, reason: `was extended to ${expiresAt.toISOString()}` }
      : { remove: true, reason }
  } catch (error) {
    options.signal?.throwIfAborted()
    if (AnyplaceError.is(error, 'sandbox-gone') || AnyplaceError.is(error, 'sandbox-not-found')) {
      return { remove: true, reason }
    }
    return { remove: false, reason: `${reason}, but whether it was extended is unknown, since it does not answer` }
  } finally {
    await link?.close('was looked at by gc').catch(() => undefined)
  }
}
