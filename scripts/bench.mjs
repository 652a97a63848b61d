// Compiles the benches and what they measure, then runs them in plain Node as users run the package: a loader that
// translates TypeScript keeps so much in memory that collecting garbage would cost bulk transfers half of their speed.
import { spawnSync } from 'node:child_process'
import { cpSync, rmSync, statSync } from 'node:fs'
import process from 'node:process'

const OUT = '.bench'

rmSync(OUT, { recursive: true, force: true })
run(['node_modules/typescript/bin/tsc', '-p', 'tsconfig.bench.json'])
// Modules read such files beside themselves.
cpSync('src', `${OUT}/src`, {
  recursive: true,
  filter: (path) => (statSync(path).isDirectory() ? !path.endsWith('__pycache__') : /\.(py|sh)$/.test(path)),
})
run([`${OUT}/bench/main.js`, ...process.argv.slice(2)])

function run(argv) {
  const { status } = spawnSync(process.execPath, argv, { stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}
