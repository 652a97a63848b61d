// `npm test`: prepares the machine, runs every check and test, prints the grid of the conformance suite and a count.
// Plain Node and no dependency, because it runs before `npm ci`.
//
//   npm test                     everything
//   npm test -- --quick          leaves out what the suite marks as slow, and says so
//   npm test -- --only unit,conformance
//
// The last line is always `N passed, N failed`; the exit code is 0 only when nothing failed.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { parseArgs } from 'node:util'
import { printGrid } from './test-run/grid.mjs'
import { prepare } from './test-run/prepare.mjs'
import { failuresOf, runNpmScript, runVitest, testFilesOutside } from './test-run/stages.mjs'

const CHECKS = ['build', 'format:check', 'lint', 'types']
const SUITES = {
  unit: ['src/'],
  architecture: ['test/architecture', 'test/package', 'test/pins/', 'test/types/', 'test/lab/'],
  parts: ['test/execd/', 'test/engines/', 'test/docs/', 'test/doors/', 'test/e2e/'],
  integration: ['test/integration/'],
  conformance: ['test/conformance/'],
  chaos: ['test/chaos/'],
}

const { values } = parseArgs({ options: { quick: { type: 'boolean' }, only: { type: 'string' } } })
const known = ['checks', ...Object.keys(SUITES)]
const only = values.only?.split(',') ?? known
const unknown = only.filter((name) => !known.includes(name))
if (unknown.length > 0) {
  console.error(`--only knows ${known.join(', ')} (got ${unknown.join(', ')})`)
  finish(0, 1)
}
if (values.quick) process.env.ANYPLACE_QUICK = '1'

const work = mkdtempSync(join(tmpdir(), 'anyplace-test-run-'))
process.on('exit', () => rmSync(work, { recursive: true, force: true }))
process.env.ANYPLACE_PLAN_DIRECTORY = join(work, 'plans')

// ssh and busybox are what tests start; the rest of Anyplace asks for them where it needs them.
const problem = prepare(['python3', 'openssh-client', 'busybox'])
if (problem !== undefined) {
  console.error(`\n${problem}`)
  finish(0, 1)
}

const results = []
if (only.includes('checks')) for (const name of CHECKS) results.push(runNpmScript(name))
const reports = []
const forgotten = testFilesOutside(Object.values(SUITES).flat())
if (forgotten.length > 0) {
  console.error(`No suite of scripts/test.mjs has these files: ${forgotten.join(', ')}`)
  results.push({ name: 'all files run', passed: 0, failed: 1, seconds: 0 })
}
for (const [name, filters] of Object.entries(SUITES)) {
  if (!only.includes(name)) continue
  const { result, report } = runVitest(name, filters, join(work, `${name}.json`))
  if (result !== undefined) results.push(result)
  if (report !== undefined) reports.push(report)
}

if (only.includes('conformance')) printGrid(process.env.ANYPLACE_PLAN_DIRECTORY, reports)
console.log('\nWhat ran:')
for (const { name, passed, failed, seconds } of results) {
  console.log(
    `  ${failed === 0 ? 'ok    ' : 'FAILED'}  ${name.padEnd(14)} ${passed} passed, ${failed} failed (${seconds.toFixed(1)} s)`,
  )
}
const failures = reports.flatMap(failuresOf)
if (failures.length > 0) console.log(`\nWhat failed:\n${failures.map((line) => `  ${line}`).join('\n')}`)
if (values.quick) console.log('  --quick left out the slow requirements; a full run has them.')
if (only.length < known.length)
  console.log(`  --only left out: ${known.filter((name) => !only.includes(name)).join(', ')}`)
const sum = (key) => results.reduce((total, result) => total + result[key], 0)
finish(sum('passed'), sum('failed'))

/** Prints the count as the last line and ends the process. */
function finish(passed, failed) {
  console.log(`\n${passed} passed, ${failed} failed`)
  process.exit(failed === 0 && passed > 0 ? 0 : 1)
}
