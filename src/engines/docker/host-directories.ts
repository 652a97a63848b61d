import { posix } from 'node:path'
import { AnyplaceError, unsupportedField } from '../../spec/index.ts'
import type { CallOptions, Machine, SandboxSpec } from '../../spec/index.ts'
import type { Connection } from './connection.ts'
import { readableText } from './readable-text.ts'
import { RUN_DIRECTORY } from './supervisor.ts'

/** A bind mount as the Engine API takes it. */
export interface BindMount {
  readonly Type: 'bind'
  readonly Source: string
  readonly Target: string
  readonly ReadOnly: boolean
}

/** Sockets that would hand the whole machine to the sandbox. */
const ENGINE_SOCKETS = [
  '/var/run/docker.sock',
  '/run/docker.sock',
  '/run/podman/podman.sock',
  '/run/containerd/containerd.sock',
  '/run/crio/crio.sock',
]
/** Targets that would break the container or hide what the engine put there. */
const RESERVED_TARGETS = ['/', '/proc', '/sys', '/dev', RUN_DIRECTORY]

/**
 * The host directories of a sandbox, checked: absolute, on this machine, there, and no way to an engine.
 *
 * @throws AnyplaceError `unsupported` on another machine, `invalid-argument`, `permission-denied` for an engine's socket
 */
export async function hostDirectories(
  machine: Machine,
  spec: SandboxSpec,
  { kind, socket: { path: socketPath } }: Pick<Connection, 'kind' | 'socket'>,
  options: CallOptions = {},
): Promise<readonly BindMount[]> {
  const asked = [
    ...(spec.workspace === undefined
      ? []
      : [{ field: 'workspace', source: spec.workspace, target: '/workspace', writable: true }]),
    ...(spec.mounts ?? []).map((mount, index) => ({
      field: `mounts[${index}]`,
      ...mount,
      writable: mount.writable ?? false,
    })),
  ]
  if (asked.length === 0) return []
  if (!machine.isLocal) {
    throw unsupportedField(
      spec.workspace === undefined ? 'mounts' : 'workspace',
      asked[0]?.source,
      `The ${kind} engine on ${machine.label}`,
      'directories of this computer are not there',
      'upload the files instead, or use the engine namespace or direct, which take directories of that machine',
    )
  }
  const sockets = await Promise.all([socketPath, ...ENGINE_SOCKETS].map((path) => resolveLinks(machine, path, options)))
  const forbidden = [...new Set([socketPath, ...ENGINE_SOCKETS, ...sockets])]
  const targets = new Set<string>()
  const mounts: BindMount[] = []
  for (const { field, source, target, writable } of asked) {
    assertAbsolute(source, `${field}${field === 'workspace' ? '' : '.source'}`)
    assertAbsolute(target, `${field}.target`)
    const where = posix.normalize(target).replace(/(.)\/$/, '$1')
    if (RESERVED_TARGETS.includes(where) || where.startsWith(`${RUN_DIRECTORY}/`)) {
      throw new AnyplaceError('invalid-argument', `Nothing can be mounted at ${JSON.stringify(target)}.`, { field })
    }
    if (targets.has(where)) {
      throw new AnyplaceError('invalid-argument', `Two directories are mounted at ${JSON.stringify(target)}.`, {
        field,
      })
    }
    targets.add(where)
    await assertThere(machine, source, field, options)
    const real = await resolveLinks(machine, source, options)
    const reached = forbidden.find((path) => path === real || path.startsWith(real === '/' ? '/' : `${real}/`))
    if (reached !== undefined) {
      throw new AnyplaceError(
        'permission-denied',
        `${JSON.stringify(source)} cannot be mounted: it holds the engine's socket ${reached}, which rules the machine.`,
        { field, hint: 'Mount a directory below it that does not hold the socket' },
      )
    }
    // The link is resolved here, so that what was checked is what gets mounted.
    mounts.push({ Type: 'bind', Source: real, Target: where, ReadOnly: !writable })
  }
  return mounts
}

function assertAbsolute(path: string, field: string): void {
  if (path.startsWith('/') && !path.includes('\0')) return
  throw new AnyplaceError('invalid-argument', `${field} must be an absolute path (got ${JSON.stringify(path)}).`, {
    field,
  })
}

/** Podman would make a missing directory, so the engine is not asked. */
async function assertThere(machine: Machine, path: string, field: string, options: CallOptions): Promise<void> {
  const { exitCode } = await runQuietly(machine, ['test', '-e', path], options)
  if (exitCode === 0) return
  throw new AnyplaceError(
    'file-not-found',
    `${JSON.stringify(path)} to be mounted does not exist on ${machine.label}.`,
    {
      field,
      hint: 'Make it first; an empty directory is enough',
    },
  )
}

/** The path without links, as far as it exists. */
async function resolveLinks(machine: Machine, path: string, options: CallOptions): Promise<string> {
  const { exitCode, text } = await runQuietly(machine, ['readlink', '-f', '--', path], options)
  const real = text.replace(/\n$/, '')
  return exitCode === 0 && real.startsWith('/') ? real : posix.normalize(path).replace(/(.)\/$/, '$1')
}

async function runQuietly(
  machine: Machine,
  argv: readonly string[],
  options: CallOptions,
): Promise<{ readonly exitCode: number | null; readonly text: string }> {
  const channel = await machine.run(argv, { env: { PATH: '/usr/bin:/bin', LC_ALL: 'C' }, signal: options.signal })
  try {
    channel.stdin.end()
    channel.stderr.resume()
    const [text, { exitCode }] = await Promise.all([readableText(channel.stdout), channel.exit])
    return { exitCode, text }
  } finally {
    await channel.close()
  }
}
