import { AnyplaceError } from '../spec/errors.ts'
import type { Mount, SandboxSpec } from '../spec/index.ts'

/** The parsed options of a verb that opens a sandbox. */
export interface SpecOptionValues {
  readonly image: string | undefined
  readonly cpu: number | undefined
  readonly memory: number | undefined
  readonly cpuLimit: number | undefined
  readonly memoryLimit: number | undefined
  readonly pidsLimit: number | undefined
  readonly env: readonly (readonly [string, string])[]
  readonly secret: readonly (readonly [string, string])[]
  readonly workspace: string | undefined
  readonly mount: readonly Mount[]
  readonly workdir: string | undefined
  readonly user: string | undefined
  readonly network: false | undefined
  readonly label: readonly (readonly [string, string])[]
}

export interface SandboxRequest extends SandboxSpec {
  readonly secrets?: Readonly<Record<string, string>>
  readonly labels?: Readonly<Record<string, string>>
}

/** The library's fields for the options given; what was not given is left out, so that the library's defaults hold. */
export function sandboxRequest(options: SpecOptionValues): SandboxRequest {
  const { env, secret, label, mount } = options
  return {
    ...given('image', options.image),
    ...given('cpu', options.cpu),
    ...given('memoryMiB', options.memory),
    ...given('cpuLimit', options.cpuLimit),
    ...given('memoryLimitMiB', options.memoryLimit),
    ...given('pidsLimit', options.pidsLimit),
    ...given('workspace', options.workspace),
    ...given('workdir', options.workdir),
    ...given('user', options.user),
    ...given('network', options.network),
    ...(mount.length === 0 ? {} : { mounts: mount }),
    ...(env.length === 0 ? {} : { env: record('--env', env) }),
    ...(secret.length === 0 ? {} : { secrets: record('--secret', secret) }),
    ...(label.length === 0 ? {} : { labels: record('--label', label) }),
  }
}

/** `{ [name]: value }`, or nothing for undefined. */
export function given<Name extends string, Value>(
  name: Name,
  value: Value | undefined,
): { readonly [K in Name]?: Value } {
  return (value === undefined ? {} : { [name]: value }) as { readonly [K in Name]?: Value }
}

/** @throws AnyplaceError `invalid-argument` when a name was given twice with different values */
export function record(option: string, pairs: readonly (readonly [string, string])[]): Record<string, string> {
  const values = new Map<string, string>()
  for (const [name, value] of pairs) {
    if (values.has(name) && values.get(name) !== value) {
      throw new AnyplaceError(
        'invalid-argument',
        `${option} gives ${JSON.stringify(name)} twice, with different values.`,
        {
          hint: 'keep the one that you mean',
          field: option,
        },
      )
    }
    values.set(name, value)
  }
  return Object.fromEntries(values)
}
