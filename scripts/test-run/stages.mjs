import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { relative } from 'node:path'
import process from 'node:process'
import { stripVTControlCharacters } from 'node:util'

/** Runs a script of package.json as one check. */
export function runNpmScript(name) {
  const { scripts = {} } = JSON.parse(readFileSync('package.json', 'utf8'))
  const started = Date.now()
  console.log(`\n== ${name}`)
  if (scripts[name] === undefined) {
    console.log(`package.json has no script ${name}.`)
    return { name, passed: 0, failed: 1, seconds: 0 }
  }
  const { status } = spawnSync('npm', ['run', '--silent', name], { stdio: 'inherit' })
  return { name, passed: status === 0 ? 1 : 0, failed: status === 0 ? 0 : 1, seconds: (Date.now() - started) / 1000 }
}

/** Runs the test files whose path begins with one of the filters. Nothing when there is no such file. */
export function runVitest(name, filters, outputFile) {
  const existing = filters.filter(hasTests)
  if (existing.length === 0) return {}
  console.log(`\n== ${name}`)
  const started = Date.now()
  const { status } = spawnSync(
    process.execPath,
    [
      'node_modules/vitest/vitest.mjs',
      'run',
      ...existing,
      '--reporter=default',
      '--reporter=json',
      `--outputFile.json=${outputFile}`,
    ],
    { stdio: ['ignore', 'inherit', 'inherit'] },
  )
  const report = readReport(outputFile)
  const seconds = (Date.now() - started) / 1000
  if (report === undefined) {
    console.log(`vitest ended with ${status} and left no report.`)
    return { result: { name, passed: 0, failed: 1, seconds } }
  }
  const passed = report.numPassedTests
  let failed = report.numFailedTests
  // a file that could not be loaded has no tests to fail
  failed += report.testResults.filter((file) => file.status === 'failed' && file.assertionResults.length === 0).length
  const ran = passed + failed
  // a crash, an unhandled rejection, or nothing at all
  if (failed === 0 && (status !== 0 || (ran === 0 && report.numPendingTests === 0))) failed += 1
  return { result: { name, passed, failed, seconds }, report }
}

/** For each failed test its name and the first lines of its first failure: a log that is cut still tells the cause. */
export function failuresOf({ testResults }) {
  return testResults.flatMap(({ name, status, message, assertionResults }) => {
    const file = relative(process.cwd(), name)
    const failed = assertionResults.filter((test) => test.status === 'failed')
    if (status === 'failed' && assertionResults.length === 0) return [`${file}: ${firstLines(message)}`]
    return failed.map((test) => `${file}: ${test.fullName}: ${firstLines(test.failureMessages[0])}`)
  })
}

/** Test files that none of the filters takes: a suite that nobody runs is worse than none. */
export function testFilesOutside(filters) {
  const paths = ['src', 'test', 'conformance'].flatMap((directory) =>
    readdirSync(directory, { recursive: true, encoding: 'utf8' }).map((path) => `${directory}/${path}`),
  )
  return paths.filter((path) => path.endsWith('.test.ts') && !filters.some((filter) => path.startsWith(filter)))
}

/** Up to the stack, at most 12 lines: a command that failed says why after its command line. Then the first line of ours in the stack. */
function firstLines(text = '') {
  const lines = stripVTControlCharacters(text).trim().split('\n')
  const stack = lines.findIndex((line) => /^\s+at /.test(line))
  const place = lines.find((line) => /^\s+at .*\/(conformance|test|src)\//.test(line) && !line.includes('node_modules'))
  return lines
    .slice(0, Math.min(12, stack < 1 ? lines.length : stack))
    .concat(place?.trim().replace(process.cwd(), '.') ?? [])
    .map((line) => (line.length > 300 ? `${line.slice(0, 300)}…` : line))
    .join('\n      ')
}

function hasTests(filter) {
  const slash = filter.lastIndexOf('/')
  const directory = existsSync(filter) ? filter : filter.slice(0, slash)
  if (!existsSync(directory)) return false
  return readdirSync(directory, { recursive: true, encoding: 'utf8' }).some(
    (path) => `${directory.replace(/\/$/, '')}/${path}`.startsWith(filter) && path.endsWith('.test.ts'),
  )
}

function readReport(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    return undefined
  }
}
