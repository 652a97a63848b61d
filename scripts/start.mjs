// `npm start`: installs what is missing, builds when the sources are newer, and runs the example.
// Plain Node and no dependency, because it runs before `npm ci`.
import { spawnSync } from 'node:child_process'
import { readdirSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import { prepare } from './test-run/prepare.mjs'

const BUILT = 'dist/index.js'
const SOURCES = ['src', 'conformance', 'package-lock.json', 'scripts/build.mjs']
const EXAMPLE = 'examples/seattle-weather/run.ts'

process.chdir(dirname(dirname(fileURLToPath(import.meta.url))))
console.log('Anyplace: preparing this machine, then running the example in examples/seattle-weather')

const problem = prepare(['python3'])
if (problem !== undefined) {
  console.error(`\n${problem}`)
  process.exit(1)
}
if (timeOf(BUILT) < Math.max(...SOURCES.map(newest))) {
  console.log('Building the package …')
  run(['scripts/build.mjs'])
}
run(['--import', 'tsx', EXAMPLE])

function run(argv) {
  const { status, signal } = spawnSync(process.execPath, argv, { stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? (signal === 'SIGINT' ? 130 : 1))
}

/** The latest change at or below a path. */
function newest(path) {
  const time = timeOf(path)
  if (!statSync(path, { throwIfNoEntry: false })?.isDirectory()) return time
  return Math.max(time, ...readdirSync(path).map((name) => newest(join(path, name))))
}

function timeOf(path) {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0
}
