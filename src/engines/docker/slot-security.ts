import { unsupportedField } from '../../spec/index.ts'
import type { SandboxSpec } from '../../spec/index.ts'
import { TITLES } from './connection.ts'
import type { Connection } from './connection.ts'

/** What containers with slots are given so that each slot can have namespaces of its own (level `namespace`). */
export interface SlotSecurity {
  /** A seccomp profile in the engine's JSON that lets `unshare` and `mount` be called, which the engine's own does not. */
  readonly seccompProfile: string
  /** An AppArmor profile that the engine's machine has loaded, or `unconfined`. Docker's own refuses `mount`. */
  readonly appArmorProfile?: string | undefined
}

/** The part of a container's HostConfig that lets its slots have namespaces. */
export interface SlotHostConfig {
  readonly CapAdd: readonly string[]
  readonly SecurityOpt: readonly string[]
  readonly MaskedPaths: readonly string[]
  readonly ReadonlyPaths: readonly string[]
}

/**
 * Undefined where it is not asked for: no slots, or nothing that lets them.
 *
 * @throws AnyplaceError `unsupported` for Podman, and what `read` fails with
 */
export async function slotHostConfig(
  read: (() => Promise<SlotSecurity>) | undefined,
  spec: SandboxSpec,
  connection: Connection,
): Promise<SlotHostConfig | undefined> {
  if (read === undefined || (spec.slots ?? 0) === 0) return undefined
  const { seccompProfile, appArmorProfile } = await read()
  if (connection.kind !== 'docker') {
    const why = 'it takes a seccomp profile only as a file of its own machine'
    throw unsupportedField(
      'slots',
      spec.slots,
      TITLES[connection.kind],
      why,
      'use Docker, or a node that names no profile',
    )
  }
  return {
    // To map root of the slot's user namespace. Docker's own containers have it; ours have less.
    CapAdd: ['SETFCAP'],
    SecurityOpt: [
      `seccomp=${seccompProfile}`,
      ...(appArmorProfile === undefined ? [] : [`apparmor=${appArmorProfile}`]),
    ],
    // The kernel lets nobody mount a /proc of his own who sees one with parts covered.
    MaskedPaths: [],
    ReadonlyPaths: [],
  }
}
