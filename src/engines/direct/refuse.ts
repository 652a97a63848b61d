import { AnyplaceError, unsupportedField } from '../../spec/index.ts'
import type { MachineFacts, SandboxSpec } from '../../spec/index.ts'
import { checkNeeds } from '../sandbox-directory/check-needs.ts'

const WHERE = 'The direct engine'
/** Fields that need a boundary around the sandbox, why `direct` has none, and who does. */
const NEEDS_ISOLATION = {
  image: ['commands run on the machine itself', 'use on: "local/docker" or "local/podman"'],
  mounts: [
    'commands see the file system of the machine itself',
    'use on: "local/namespace" or "local/docker", or give the path to the command',
  ],
  cpuLimit: ['it sets no limits', 'use on: "local/docker" or "local/namespace"'],
  memoryLimitMiB: ['it sets no limits', 'use on: "local/docker" or "local/namespace"'],
  pidsLimit: ['it sets no limits', 'use on: "local/docker" or "local/namespace"'],
  slots: ['its commands all run as one user', 'use on: "local/docker" or "local/namespace"'],
} as const satisfies Partial<Record<keyof SandboxSpec, readonly [string, string]>>

/** @throws AnyplaceError `unsupported` for the first field that commands without any isolation cannot be held to */
export function refuseUnenforceable(spec: SandboxSpec, facts: MachineFacts): void {
  for (const [field, [why, hint]] of Object.entries(NEEDS_ISOLATION)) {
    const value = spec[field as keyof typeof NEEDS_ISOLATION]
    if (value !== undefined && !(Array.isArray(value) && value.length === 0))
      throw unsupportedField(field, value, WHERE, why, hint)
  }
  if (spec.network === false)
    throw unsupportedField(
      'network',
      false,
      WHERE,
      'commands have the network of the machine',
      'use on: "local/namespace" or "local/docker"',
    )
  // Root could take on another id, but that user could not enter the sandbox's directory, which is root's alone.
  if (spec.user !== undefined && spec.user !== String(facts.uid))
    throw unsupportedField(
      'user',
      spec.user,
      WHERE,
      `commands run as the user of the machine that opens the sandbox, uid ${facts.uid}`,
      'leave out user, or use on: "local/docker" or "local/podman"',
    )
  if (facts.platform !== 'linux')
    throw new AnyplaceError('engine-unavailable', `${WHERE} runs on Linux only.`, {
      hint: 'use on: "local/docker" or "local/podman"',
    })
  checkNeeds(spec, facts, WHERE)
}
