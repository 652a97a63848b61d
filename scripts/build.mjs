// Builds dist: the package's own modules, the conformance suite beside them, and the files that are no TypeScript.
import { spawnSync } from 'node:child_process'
import { chmodSync, cpSync, existsSync, rmSync } from 'node:fs'

rmSync('dist', { recursive: true, force: true })
for (const project of ['tsconfig.build.json', 'tsconfig.suite.json']) {
  const argv = ['node_modules/typescript/bin/tsc', '-p', project]
  const { status } = spawnSync(process.execPath, argv, { stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}
copy('src', 'dist', '.py')
copy('conformance/fixtures', 'dist/suite/conformance/fixtures', '')
if (existsSync('dist/cli/main.js')) chmodSync('dist/cli/main.js', 0o755)

function copy(from, to, ending) {
  const isWanted = (path) => !path.includes('__pycache__') && (!/\.\w+$/.test(path) || path.endsWith(ending))
  cpSync(from, to, { recursive: true, filter: isWanted })
}
