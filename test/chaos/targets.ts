import type { TestedOptions } from '../../conformance/index.ts'
import { localTarget } from '../conformance/local-target.ts'

/** An engine that can be reached now. */
export interface ChaosTarget {
  readonly name: string
  readonly on: string
  readonly otherClient: readonly string[]
  readonly spec: TestedOptions
  leftovers(...ids: readonly string[]): Promise<readonly string[]>
}

/** The engines of this machine that answer. One that ANYPLACE_EXPECT names must. */
export async function chaosTargets(): Promise<readonly ChaosTarget[]> {
  const found: ChaosTarget[] = []
  const expected = (process.env['ANYPLACE_EXPECT'] ?? '').split(',')
  for (const engine of ['direct', 'namespace', 'docker', 'podman'] as const) {
    const target = localTarget(engine, { powers: [] })
    const reach = await target.reach()
    if (reach.reached) found.push({ ...target, spec: {}, leftovers: (...ids) => target.leftovers(...ids) })
    else if (expected.includes(engine)) throw new Error(`ANYPLACE_EXPECT names ${engine}: ${reach.why}`)
    else process.stderr.write(`chaos: ${engine} is not reached: ${reach.why}; ${reach.howToEnable}\n`)
  }
  return found
}
