import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Reach, Target } from './target.ts'

/** What a run of the suite set out to check; with the test runner's results it makes the grid. */
export interface Plan {
  readonly target: string
  readonly on: string
  readonly reach: Reach
  /** Id → why it does not apply; null when it does. */
  readonly requirements: Readonly<Record<string, string | null>>
  readonly knownFailures: Readonly<Record<string, string>>
}

/** Writes the plan into the directory that ANYPLACE_PLAN_DIRECTORY names; nothing when it names none. */
export function writePlan(target: Target, reach: Reach, reasons: ReadonlyMap<string, string | undefined>): void {
  const directory = process.env['ANYPLACE_PLAN_DIRECTORY']
  if (directory === undefined || directory === '') return
  const plan: Plan = {
    target: target.name,
    on: target.on,
    reach,
    requirements: Object.fromEntries([...reasons].map(([id, why]) => [id, why ?? null])),
    knownFailures: target.knownFailures ?? {},
  }
  mkdirSync(directory, { recursive: true })
  writeFileSync(join(directory, `${target.name}.json`), JSON.stringify(plan, undefined, 2))
}
