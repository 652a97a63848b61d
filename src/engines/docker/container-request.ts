import { AnyplaceError, DEFAULTS } from '../../spec/index.ts'
import type { MachineFacts, OpenRequest } from '../../spec/index.ts'
import type { Connection } from './connection.ts'
import type { DeviceRequest } from './gpu-devices.ts'
import type { BindMount } from './host-directories.ts'
import { labelsOf } from './labels.ts'
import type { StoredConfig } from './labels.ts'
import type { EngineLimits } from './limits.ts'
import type { ImageFacts } from './pull-image.ts'
import type { SlotHostConfig } from './slot-security.ts'
import { RUN_DIRECTORY, supervisorArguments } from './supervisor.ts'

/** HOME of commands that run as the caller of a host directory, whom the image does not know. */
const CALLER_HOME = '/home/anyplace'

/** What the daemon needs to switch users and package managers need to install; nothing else is left to root. */
const CAPABILITIES = ['SETUID', 'SETGID', 'KILL', 'CHOWN', 'FOWNER', 'DAC_OVERRIDE']

export interface ContainerParts {
  readonly facts: MachineFacts
  readonly image: ImageFacts
  readonly limits: EngineLimits
  readonly gpus: readonly DeviceRequest[]
  readonly mounts: readonly BindMount[]
  /** Network mode: an id, a mode of Podman's, or `none`. */
  readonly network: string
  readonly slots: SlotHostConfig | undefined
}

/** A container that can be created. */
export interface ContainerPlan {
  readonly config: StoredConfig
  /** What creates it; `connector` is started in it once, with the streams that are attached before the start. */
  readonly body: (connector: readonly string[]) => Promise<object>
}

/** What the container of a sandbox shall be. */
export async function containerRequest(
  request: OpenRequest,
  connection: Connection,
  parts: ContainerParts,
): Promise<ContainerPlan> {
  const { facts, gpus, image, limits, mounts, network, slots } = parts
  const { lifetime, spec } = request
  const workdir = spec.workdir ?? DEFAULTS.workdir
  for (const [name, value] of Object.entries(spec.env ?? {})) {
    if (name === '' || /[=\0]/.test(name) || value.includes('\0')) {
      throw new AnyplaceError('invalid-argument', `Not a variable of an environment: ${JSON.stringify(name)}.`, {
        field: 'env',
      })
    }
  }
  if (!workdir.startsWith('/') || workdir.includes('\0')) {
    throw new AnyplaceError('invalid-argument', `workdir must be an absolute path (got ${JSON.stringify(workdir)}).`, {
      field: 'workdir',
    })
  }
  const createdAt = new Date()
  // Files of a mounted directory shall stay the caller's. A rootless engine's root is the caller already.
  const isCaller = spec.user === undefined && mounts.length > 0
  const caller = connection.isRootless ? '0:0' : `${facts.uid}:${facts.gid}`
  const needsHome = isCaller && caller !== '0:0'
  const config: StoredConfig = {
    expiresAtMs: createdAt.getTime() + lifetime.timeoutMs,
    maxExpiresAtMs: createdAt.getTime() + Math.max(lifetime.maxLifetimeMs, lifetime.timeoutMs),
    idleTimeoutMs: lifetime.idleTimeoutMs,
    workdir,
    image: spec.image ?? DEFAULTS.image,
    user: isCaller ? caller : (spec.user ?? image.user),
    env: { ...(needsHome ? { HOME: CALLER_HOME } : {}), ...spec.env },
    home: needsHome ? CALLER_HOME : undefined,
    slotNamespaces: slots === undefined ? undefined : true,
  }
  const body = async (connector: readonly string[]): Promise<object> => ({
    Image: image.id,
    Entrypoint: ['/bin/sh'],
    Cmd: await supervisorArguments(config.expiresAtMs, config.maxExpiresAtMs, connector),
    // The daemon switches users itself.
    User: '0:0',
    WorkingDir: '/',
    Hostname: request.name,
    Labels: labelsOf(request, createdAt, config),
    Tty: false,
    AttachStdin: true,
    AttachStdout: true,
    AttachStderr: true,
    OpenStdin: true,
    // The first client's end is the end of its stream, not of the sandbox.
    StdinOnce: true,
    // An image's own check would run its commands in here for ever.
    Healthcheck: { Test: ['NONE'] },
    HostConfig: {
      Init: false,
      // Nothing is left after its lifetime, also when no client is there to clean up.
      AutoRemove: true,
      RestartPolicy: { Name: 'no' },
      LogConfig: { Type: 'none' },
      NetworkMode: network,
      CapDrop: ['ALL'],
      CapAdd: [...CAPABILITIES, ...(slots?.CapAdd ?? [])],
      SecurityOpt: ['no-new-privileges', ...(slots?.SecurityOpt ?? [])],
      MaskedPaths: slots?.MaskedPaths,
      ReadonlyPaths: slots?.ReadonlyPaths,
      Tmpfs: { [RUN_DIRECTORY]: 'rw,nosuid,nodev,noexec,mode=0700,size=16m' },
      Mounts: mounts,
      ...limits,
      ...(gpus.length === 0 ? {} : { DeviceRequests: gpus }),
    },
  })
  return { config, body }
}
