import './areas/all.ts'
import { CANARY, SharedBox, withContext } from './context.ts'
import { notApplicable } from './not-applicable.ts'
import { writePlan } from './plan.ts'
import { requirements } from './requirements.ts'
import type { Target } from './target.ts'
import type { TestApi } from './test-api.ts'
import { allVerifications } from './verifies.ts'

export { otherClient } from './other-client.ts'
export type { OtherClientRequest } from './other-client.ts'
export { POWERS } from './powers.ts'
export type { Power } from './powers.ts'
export { requirements } from './requirements.ts'
export type { Requirement, Requirements } from './requirement.ts'
export type { Reach, Target, TestedApi, TestedOptions, TestedSandbox } from './target.ts'
export type { TestApi } from './test-api.ts'

/**
 * Registers the whole suite for one target. A requirement that does not apply is not registered but written, with its
 * reason, into the plan that the grid of `npm test` is made from.
 *
 * A target that cannot be reached registers one skipped test that says why; it fails when ANYPLACE_EXPECT names the target.
 */
export async function conformance(target: Target, { describe, test, fails, skip, afterAll }: TestApi): Promise<void> {
  const reach = await target.reach()
  const reasons = new Map(Object.entries(requirements).map(([id, one]) => [id, notApplicable(one, target)]))
  writePlan(target, reach, reasons)
  describe(`conformance ${target.name}`, () => {
    if (!reach.reached) {
      const title = `not reached: ${reach.why}; ${reach.howToEnable}`
      if (!isExpected(target.name)) return skip(title)
      return test(title, { timeout: 1000 }, () =>
        Promise.reject(new Error(`ANYPLACE_EXPECT names ${target.name}. ${title}`)),
      )
    }
    process.env[CANARY.name] = CANARY.value
    const shared = new SharedBox(target)
    afterAll(() => shared.close(), 60_000)
    for (const [id, body] of allVerifications()) {
      const requirement = requirements[id]
      if (requirement === undefined || reasons.get(id) !== undefined) continue
      const known = target.knownFailures?.[id]
      const register = known === undefined ? test : fails
      register(
        known === undefined ? id : `${id} (known failure: ${known})`,
        { timeout: requirement.slow ? 180_000 : 60_000 },
        () => withContext(target, shared, body),
      )
    }
  })
}

function isExpected(name: string): boolean {
  return (process.env['ANYPLACE_EXPECT'] ?? '')
    .split(',')
    .map((word) => word.trim())
    .includes(name)
}
