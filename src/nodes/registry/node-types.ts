/** What a provider can be asked for behind a slash: `local/docker`, `gpu-box/direct`. */
const MACHINE_ENGINES = ['docker', 'podman', 'namespace', 'direct'] as const

/** How a machine isolates. */
export type EngineName = (typeof MACHINE_ENGINES)[number]

/** The types of node, each with its engines. Their names are no names for nodes. */
export const NODE_TYPES: Readonly<Record<'local' | 'ssh', readonly string[]>> = {
  local: MACHINE_ENGINES,
  ssh: MACHINE_ENGINES,
}

/** Names of providers, of today and of those to come, that no node may take. */
export const RESERVED_NAMES: readonly string[] = ['local', 'ssh', 'modal', 'kubernetes']

/** True for an engine that nodes of this type have. */
export function hasEngine(type: 'local' | 'ssh', engine: string): engine is EngineName {
  return NODE_TYPES[type].includes(engine)
}
