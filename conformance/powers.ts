/**
 * What a target says it can do. A requirement `needs` some of them, and its opposite (the honest refusal) is checked where
 * they are missing, so that a power is either proven or refused, never pretended.
 */
export const POWERS = {
  // of the session (SessionPowers)
  attach: 'processes outlive their client and can be attached to',
  pty: 'commands on a terminal',
  tunnels: 'TCP connections to ports inside',
  stats: 'what the sandbox uses',
  extend: 'the end can be moved',
  idleTimeout: 'an idle sandbox ends',
  spawnKeys: 'the same key starts one process',
  // of the engine: fields that it enforces
  image: 'runs a given image',
  cpuLimit: 'a hard cap in CPUs',
  memoryLimitMiB: 'a hard cap on memory',
  pidsLimit: 'a hard cap on processes',
  mounts: 'host directories mounted at a path',
  workspace: 'a host directory as /workspace',
  workdir: 'any absolute working directory',
  user: 'commands run as another user',
  networkOff: 'no network but loopback',
  // of the place
  python: 'python3 is there',
  privateFiles: "the machine's own files cannot be seen",
  privateProcesses: "the machine's own processes cannot be seen",
  hardened: 'capabilities dropped and no-new-privileges set',
  idRange: 'more than one user id exists inside',
} as const

/** One of {@link POWERS}. */
export type Power = keyof typeof POWERS

/** Those that the session reports itself in `info().powers`. */
export const SESSION_POWERS = ['attach', 'pty', 'tunnels', 'stats', 'extend', 'idleTimeout', 'spawnKeys'] as const
