import { readFileSync, readdirSync } from 'node:fs'
import { basename, join } from 'node:path'

/** Prints targets against areas of requirements, why something does not apply, and what could not be reached. */
export function printGrid(planDirectory, reports) {
  const plans = readPlans(planDirectory)
  const outcomes = readOutcomes(reports)
  const areas = [...new Set(plans.flatMap((plan) => Object.keys(plan.requirements).map(areaOf)))]
  const reached = plans.filter((plan) => plan.reach.reached)
  console.log('\nConformance: area of requirements against provider/engine')
  console.log('(passed; FAILED; known = known failure; n/a = does not apply there, reasons below)\n')
  const cells = areas.map((area) => [
    area,
    ...reached.map((plan) => cellOf(plan, area, outcomes.get(plan.target) ?? new Map())),
  ])
  printTable([['', ...reached.map((plan) => plan.target)], ...cells])

  for (const plan of reached) {
    const reasons = new Map()
    for (const [id, why] of Object.entries(plan.requirements))
      if (why !== null) reasons.set(why, [...(reasons.get(why) ?? []), id])
    if (reasons.size > 0) console.log(`\nNot applicable on ${plan.target}:`)
    for (const [why, ids] of reasons) console.log(`  ${why}: ${ids.join(', ')}`)
    const known = Object.entries(plan.knownFailures)
    if (known.length > 0) console.log(`\nKnown failures on ${plan.target}:`)
    for (const [id, note] of known) console.log(`  ${id}: ${note}`)
  }
  const missing = plans.filter((plan) => !plan.reach.reached)
  if (missing.length > 0) console.log('\nNot reached:')
  for (const { target, reach } of missing) console.log(`  ${target}: ${reach.why}\n    to enable: ${reach.howToEnable}`)
  const silent = targetFiles().filter((name) => !plans.some((plan) => plan.target === name))
  for (const name of silent) console.log(`  ${name}: its test file did not even start; see above`)
}

function readPlans(directory) {
  try {
    return readdirSync(directory)
      .sort()
      .map((name) => JSON.parse(readFileSync(join(directory, name), 'utf8')))
  } catch {
    return []
  }
}

function targetFiles() {
  const names = readdirSync('test/conformance').filter((name) => name.endsWith('.test.ts'))
  return names.map((name) => basename(name, '.test.ts')).filter((name) => name !== 'coverage')
}

/** Target → requirement → vitest's status. */
function readOutcomes(reports) {
  const outcomes = new Map()
  for (const { ancestorTitles, title, status } of reports
    .flatMap((report) => report.testResults)
    .flatMap((file) => file.assertionResults)) {
    const target = /^conformance (.+)$/.exec(ancestorTitles[0] ?? '')?.[1]
    if (target === undefined) continue
    if (!outcomes.has(target)) outcomes.set(target, new Map())
    outcomes.get(target).set(title.split(' ')[0], status)
  }
  return outcomes
}

function areaOf(id) {
  return id.slice(0, id.indexOf(':'))
}

function cellOf(plan, area, outcomes) {
  const count = { passed: 0, failed: 0, known: 0, notApplicable: 0 }
  for (const [id, why] of Object.entries(plan.requirements)) {
    if (areaOf(id) !== area) continue
    if (why !== null) count.notApplicable += 1
    else if (outcomes.get(id) !== 'passed') count.failed += 1
    else if (plan.knownFailures[id] !== undefined) count.known += 1
    else count.passed += 1
  }
  const parts = [`${count.passed} passed`]
  if (count.failed > 0) parts.push(`${count.failed} FAILED`)
  if (count.known > 0) parts.push(`${count.known} known`)
  if (count.notApplicable > 0) parts.push(`${count.notApplicable} n/a`)
  return parts.join(', ')
}

function printTable(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)))
  for (const row of rows)
    console.log(`  ${row.map((cell, column) => (cell ?? '').padEnd(widths[column])).join('  ')}`.trimEnd())
}
