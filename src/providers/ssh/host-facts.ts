import { containerSigns } from '../../engines/container-signs.ts'
import { AnyplaceError } from '../../spec/index.ts'
import type { MachineFacts } from '../../spec/index.ts'
import type { SshTarget } from './ssh-target.ts'

/** What the start of a session tells of a host. */
export interface HostFacts extends MachineFacts {
  /** Absolute; undefined: no Python 3.9 or later, so no daemon either. */
  readonly python: string | undefined
  /** False: the host ends a user's processes when the last connection ends. */
  readonly durable: boolean
}

const ENGINE_VARIABLES = [
  'DOCKER_HOST',
  'DOCKER_CONTEXT',
  'DOCKER_CONFIG',
  'CONTAINER_HOST',
  'XDG_RUNTIME_DIR',
] as const
/** How many fields host-script.sh prints. */
export const FIELDS = 21 + ENGINE_VARIABLES.length

const ARCHITECTURES: Readonly<Record<string, string>> = {
  x86_64: 'x64',
  amd64: 'x64',
  aarch64: 'arm64',
  arm64: 'arm64',
  armv7l: 'arm',
  i686: 'ia32',
  i386: 'ia32',
}

/**
 * The facts as host-script.sh prints them.
 *
 * @throws AnyplaceError when the workspace cannot be used; `protocol-error` for what is none of ours
 */
export function parseFacts(target: SshTarget, where: string, fields: readonly string[]): HostFacts {
  const at = (index: number): string => fields[index] ?? ''
  const number = (index: number): number => {
    const value = Number.parseInt(at(index), 10)
    if (Number.isSafeInteger(value) && value >= 0) return value
    throw new AnyplaceError('protocol-error', `${where} told ${JSON.stringify(at(index))} where a number was due.`)
  }
  const [fault = '', directory = '', home = '/'] = fields
  if (fault !== '') throw workspaceFault(target, where, directory, fault)
  const system = at(5)
  const engineEnv: Record<string, string> = {}
  for (const [index, name] of ENGINE_VARIABLES.entries()) {
    const value = at(21 + index)
    if (value !== '') engineEnv[name] = value
  }
  return {
    platform: system === 'Linux' ? 'linux' : system === 'Darwin' ? 'darwin' : 'other',
    architecture: ARCHITECTURES[at(6)] ?? at(6),
    hostname: at(7),
    bootId: at(8),
    uid: number(3),
    gid: number(4),
    homeDirectory: home,
    stateDirectory: directory,
    cpuCount: Math.max(1, number(9)),
    memoryMiB: number(10),
    engineEnv,
    containerSigns: containerSigns({
      initCgroup: at(13),
      mountInfo: at(14),
      systemdContainer: at(15),
      hasDockerEnv: at(16) === '1',
      hasContainerEnv: at(17) === '1',
      containerVariable: at(18),
      kubernetesHost: at(19),
    }),
    gpus: at(20)
      .split('\n')
      .map((name) => name.trim())
      .filter((name) => name !== ''),
    python: at(11) === '' ? undefined : at(11),
    durable: at(12) === '1',
  }
}

function workspaceFault(target: SshTarget, where: string, directory: string, fault: string): AnyplaceError {
  const line = fault.trim().split('\n')[0]?.slice(0, 300) ?? ''
  const code = /Not a directory|File exists/.test(line)
    ? 'not-a-directory'
    : /No space|Disk quota/.test(line)
      ? 'no-space'
      : 'permission-denied'
  return new AnyplaceError(code, `Cannot use the workspace ${JSON.stringify(directory)} on ${where}: ${line}.`, {
    field: 'workspace',
    hint: `choose a directory that ${target.username ?? 'the user'} may write there, such as ~/.anyplace`,
    data: { cause: 'workspace', path: directory },
  })
}
