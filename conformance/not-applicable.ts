import { POWERS } from './powers.ts'
import type { Requirement } from './requirement.ts'
import type { Target } from './target.ts'

/** Why a requirement does not apply to a target; undefined when it does. */
export function notApplicable(requirement: Requirement, target: Target): string | undefined {
  const missing = (requirement.needs ?? []).filter((power) => !target.powers.includes(power))
  if (missing.length > 0)
    return `${target.name} has no ${missing.map((power) => `${power} (${POWERS[power]})`).join(', ')}`
  if (requirement.lacks !== undefined && target.powers.includes(requirement.lacks)) {
    return `${target.name} has ${requirement.lacks}, so there is nothing to refuse`
  }
  if (requirement.slow === true && process.env['ANYPLACE_QUICK'] === '1') return 'left out by ANYPLACE_QUICK=1'
  return undefined
}
