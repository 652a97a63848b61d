// Builds dist: the package's own modules, the conformance suite beside them, and the files that are no TypeScript.
import { spawnSync } from 'node:child_process'
import { chmodSync, cpSync, existsSync, rmSync, statSync } from 'node:fs'
import process from 'node:process'

rmSync('dist', { recursive: true, force: true })
for (const project of ['tsconfig.build.json', 'tsconfig.suite.json']) {
  const argv = ['node_modules/typescript/bin/tsc', '-p', project]
  const { status } = spawnSync(process.execPath, argv, { stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}
// Modules read such files beside themselves, so dist has them in the same places as src.
copyOtherFiles('src', 'dist')
copyOtherFiles('conformance', 'dist/suite/conformance')
if (existsSync('dist/cli/main.js')) chmodSync('dist/cli/main.js', 0o755)

function copyOtherFiles(from, to) {
  cpSync(from, to, {
    recursive: true,
    filter: (path) => (statSync(path).isDirectory() ? !path.endsWith('__pycache__') : /\.(py|sh)$/.test(path)),
  })
}
