import { AnyplaceError } from '../spec/index.ts'
import type { Provider } from '../spec/index.ts'
import { suggest } from '../sandboxes/suggest.ts'

const DEFAULT_NODE = 'local'

/** Every provider there is: how to get it (loaded when first used) and what may follow its name after a slash. */
const PROVIDERS: Readonly<
  Record<string, { readonly load: (engine?: string) => Promise<Provider>; readonly engines: readonly string[] }>
> = {
  local: {
    load: async (engine) => (await import('../providers/local/index.ts')).localProvider({ engine }),
    engines: ['docker', 'podman', 'namespace', 'direct'],
  },
}

/** Where work runs, resolved. */
export interface ResolvedNode {
  /** As written: `local`, `local/docker`. */
  readonly on: string
  readonly provider: Provider
  readonly engine: string | undefined
}

const loaded = new Map<string, Promise<Provider>>()

/** Every value that `on` can have now. */
export function nodeNames(): readonly string[] {
  return Object.entries(PROVIDERS).flatMap(([name, { engines }]) => [
    name,
    ...engines.map((engine) => `${name}/${engine}`),
  ])
}

/**
 * What `on` names: a value given, else the environment variable ANYPLACE_ON, else `local`.
 *
 * @throws AnyplaceError `not-found` that names what there is
 */
export async function resolveNode(on?: string): Promise<ResolvedNode> {
  const fromEnv = on === undefined ? process.env['ANYPLACE_ON'] || undefined : undefined
  const wanted: unknown = on ?? fromEnv ?? DEFAULT_NODE
  if (typeof wanted !== 'string') {
    throw new AnyplaceError('invalid-argument', `on must be a node's name (got ${typeof wanted}).`, { field: 'on' })
  }
  if (!nodeNames().includes(wanted)) throw unknownNode(wanted, fromEnv !== undefined)
  const [name, engine] = wanted.split('/') as [string, string | undefined]
  return { on: wanted, provider: await load(wanted, name, engine), engine }
}

function load(wanted: string, name: string, engine: string | undefined): Promise<Provider> {
  let provider = loaded.get(wanted)
  if (provider === undefined) {
    provider = PROVIDERS[name]?.load(engine) ?? Promise.reject(unknownNode(name, false))
    loaded.set(wanted, provider)
    provider.catch(() => loaded.delete(wanted))
  }
  return provider
}

function unknownNode(wanted: string, fromEnv: boolean): AnyplaceError {
  const meant = suggest(wanted, nodeNames())
  const there = `there are ${nodeNames().join(', ')}`
  return new AnyplaceError(
    'not-found',
    `No node named ${JSON.stringify(wanted)}${fromEnv ? ' (from ANYPLACE_ON)' : ''}; ${there}.`,
    { field: 'on', hint: meant ? `did you mean ${meant}?` : 'choose one of them' },
  )
}
