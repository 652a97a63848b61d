import { createHash } from 'node:crypto'
import { AnyplaceError } from '../spec/index.ts'
import type { CallOptions, Slot } from '../spec/index.ts'
import type { Store } from '../store/index.ts'
import type { Claim } from './claims.ts'
import { PoolSandbox } from './pool-sandbox.ts'
import { giveBackUidUnits } from './uid-units.ts'
import type { LoadedProfile, PoolProfile } from './profile.ts'
import type { LeaseRecord } from './sandbox-record.ts'
import type { PooledSandbox, PooledSandboxRequest, SandboxSource } from './sandbox-source.ts'

/** What opening a pool's sandboxes needs. */
export interface SandboxFactory {
  readonly loaded: LoadedProfile
  readonly pool: string
  readonly source: SandboxSource
  readonly store: Store
  readonly secrets: Readonly<Record<string, string>>
}

/** An opened sandbox: which of its slots are leased, which must be made clean first, and which are clean. */
export interface OpenedSandbox {
  readonly sandbox: PoolSandbox
  readonly leased: readonly { readonly slot: Slot; readonly record: LeaseRecord }[]
  readonly unclean: readonly Slot[]
  readonly clean: readonly Slot[]
}

/** `anyplace-default`; profile names with capitals or underscores get a mark, so that no two pools have one name. */
export function poolName(profile: PoolProfile): string {
  const plain = profile.name.toLowerCase().replaceAll('_', '-')
  const mark = plain === profile.name ? '' : `-${createHash('sha256').update(profile.name).digest('hex').slice(0, 4)}`
  return `${profile.appName}-${plain}${mark}`
}

/**
 * Opens the claimed sandbox, or finds the one of that name again, with its slots and leases. A sandbox of that name that was
 * opened with another profile is ended first.
 *
 * @param settled whether the record says that slots without a lease are clean
 */
export async function openPoolSandbox(
  factory: SandboxFactory,
  claim: Claim,
  settled: boolean,
  options: CallOptions,
): Promise<OpenedSandbox> {
  const box = await openOrReplace(factory, claim.record.name, options)
  const isKnown = claim.record.sandboxId === box.id
  try {
    const { slots } = box
    if (slots === undefined) {
      throw new AnyplaceError(
        'unsupported',
        `Sandbox ${box.name} cannot hold slots: its exec daemon cannot switch users.`,
        {
          field: 'slots',
          hint: 'use an image with Python 3.9 or later whose user is root, or the namespace engine as root',
        },
      )
    }
    const { createdAt, expiresAt } = await box.info(options)
    const expiresAtMs = expiresAt.getTime()
    if (!isKnown) await giveBackUidUnits(factory.store, claim.record.uidUnits)
    // Written before there are slots, so that whoever comes after us knows whose they are.
    claim.update({
      sandboxId: box.id,
      createdAtMs: createdAt.getTime(),
      expiresAtMs,
      ...(isKnown ? {} : { leases: [], uidUnits: [] }),
    })
    await claim.written()
    const { loaded, store } = factory
    const times = { createdAtMs: createdAt.getTime(), expiresAtMs }
    const sandbox = new PoolSandbox({ box, slots, claim, profile: loaded.profile, store, ...times })
    const { found, made } = await sandbox.prepare(options)
    claim.update({ slots: found.length + made.length })
    const leases = new Map(claim.record.leases.map((record) => [record.slot, record]))
    const leased = found.flatMap((slot) => {
      const record = leases.get(slot.name)
      return record === undefined || slot.state !== 'ready' ? [] : [{ slot, record }]
    })
    const rest = found.filter((slot) => !leased.some((one) => one.slot === slot))
    const isClean = (slot: Slot): boolean => settled && isKnown && slot.state === 'ready'
    return {
      sandbox,
      leased,
      unclean: rest.filter((slot) => !isClean(slot)),
      clean: [...made, ...rest.filter(isClean)],
    }
  } catch (error) {
    // One with leases may work again later; any other goes with its claim.
    if (!isKnown) claim.update({ sandboxId: '' })
    await (isKnown ? box.detach() : box.close()).catch(() => undefined)
    throw error
  }
}

async function openOrReplace(factory: SandboxFactory, name: string, options: CallOptions): Promise<PooledSandbox> {
  const { source, loaded } = factory
  const request = requestOf(factory, name, options)
  try {
    return await openWithImage(source, loaded, request)
  } catch (error) {
    if (!AnyplaceError.is(error, 'conflict')) throw error
    // It runs with another spec: the profile has changed since.
    const where = request.on === undefined ? {} : { on: request.on }
    await source.remove(name, { ...where, ...options })
    return openWithImage(source, loaded, request)
  }
}

/** Engines without images refuse one; then only an image that somebody asked for is an error. */
async function openWithImage(
  source: SandboxSource,
  loaded: LoadedProfile,
  request: PooledSandboxRequest,
): Promise<PooledSandbox> {
  try {
    return await source.open(request)
  } catch (error) {
    // A conflict too: the running one may have been opened without.
    const isImage =
      AnyplaceError.is(error) && ['unsupported', 'conflict'].includes(error.code) && error.field === 'image'
    if (!isImage || loaded.origins.image.kind !== 'default') throw error
    const { image: _, ...rest } = request
    return source.open(rest)
  }
}

function requestOf(factory: SandboxFactory, name: string, options: CallOptions): PooledSandboxRequest {
  const { profile } = factory.loaded
  return {
    name,
    image: profile.image,
    slots: profile.slotsPerSandbox * 2,
    cpu: profile.cpu,
    memoryMiB: profile.memoryMiB,
    timeoutMs: profile.maxLifetimeMs,
    maxLifetimeMs: profile.maxLifetimeMs,
    labels: { pool: factory.pool, profile: profile.name },
    ...(profile.on === undefined ? {} : { on: profile.on }),
    ...(profile.gpu === undefined ? {} : { gpu: profile.gpu }),
    ...(Object.keys(profile.env).length === 0 ? {} : { env: profile.env }),
    ...(Object.keys(factory.secrets).length === 0 ? {} : { secrets: factory.secrets }),
    ...(profile.network ? {} : { network: false }),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  }
}
