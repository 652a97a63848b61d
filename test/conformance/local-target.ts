import { mkdtempSync, rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll } from 'vitest'
import type { Power, Reach, Target, TestedOptions } from '../../conformance/index.ts'
import { attach, doctor, gc, list, open, remove } from '../../src/index.ts'
import { leftovers, records } from './traces.ts'

// A state directory of this file's own, so that leftovers cannot be anybody else's. Short: socket paths are limited.
const home = mkdtempSync('/tmp/anyplace-test-')
process.env['ANYPLACE_HOME'] = home
afterAll(() => rmSync(home, { recursive: true, force: true }))

/** One engine of this machine. */
export function localTarget(
  engine: 'direct' | 'namespace' | 'docker' | 'podman',
  options: {
    readonly name?: string
    readonly powers: readonly Power[]
    readonly spec?: TestedOptions
    readonly manyAtOnce?: number
    /** What else must be there, asked once the engine answers. */
    readonly also?: () => Promise<Reach>
  },
): Target {
  const { name = engine, also, ...rest } = options
  return {
    name,
    on: `local/${engine}`,
    api: { open, attach, list, gc, remove },
    otherClient: [process.execPath, '--import', 'tsx', fileURLToPath(new URL('./other-client.ts', import.meta.url))],
    leftovers: (...ids) => leftovers(ids, home),
    records: (id) => records(id, home),
    async reach() {
      const finding = (await doctor({ on: `local/${engine}` })).find(({ subject }) => subject === engine)
      if (finding?.status === 'unavailable' || finding === undefined) {
        return {
          reached: false,
          why: finding?.message ?? 'doctor does not know it',
          howToEnable: finding?.hint ?? `see "anyplace doctor --on local/${engine}"`,
        }
      }
      return (await also?.()) ?? { reached: true, note: finding.message }
    },
    ...rest,
  }
}

/** Powers of every session that goes through the exec daemon. */
export const DAEMON_POWERS = [
  'attach',
  'pty',
  'tunnels',
  'stats',
  'extend',
  'idleTimeout',
  'spawnKeys',
] as const satisfies readonly Power[]

/** Powers of an engine that runs containers. */
export const CONTAINER_POWERS = [
  'image',
  'cpuLimit',
  'memoryLimitMiB',
  'pidsLimit',
  'mounts',
  'workspace',
  'workdir',
  'user',
  'idRange',
  'networkOff',
  'privateFiles',
  'privateProcesses',
  'hardened',
] as const satisfies readonly Power[]
