import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import process from 'node:process'

/** Debian's packages, and how to see that one is there. */
const PACKAGES = {
  python3: ['python3', '-c', 'import json, socket, sys, tarfile; sys.exit(sys.version_info < (3, 9))'],
  'openssh-client': ['ssh', '-V'],
  busybox: ['busybox', 'true'],
}

/** Installs our npm packages and those of Debian. Gives the reason and the next step when it cannot, else undefined. */
export function prepare(packages) {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major < 20 || (major === 20 && minor < 19)) {
    return `Node ${process.versions.node} is too old: install Node 20.19 or newer.`
  }
  return installPackages() ?? installPrograms(packages)
}

function installPackages() {
  if (packagesAreInstalled()) return undefined
  console.log('Installing the npm packages (npm ci) …')
  const { status } = spawnSync('npm', ['ci', '--include=dev', '--no-audit', '--no-fund'], { stdio: 'inherit' })
  return status === 0 ? undefined : 'npm ci failed; its output is above.'
}

/** True when node_modules holds the version of each package that package-lock.json names. */
function packagesAreInstalled() {
  const wanted = readPackages('package-lock.json')
  const present = readPackages('node_modules/.package-lock.json')
  if (wanted === undefined || present === undefined) return false
  return Object.entries(wanted).every(
    ([path, { version, optional }]) =>
      path === '' || (optional && !present[path]) || present[path]?.version === version,
  )
}

function readPackages(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8')).packages
  } catch {
    return undefined
  }
}

function installPrograms(packages) {
  const missing = packages.filter(isMissing)
  if (missing.length === 0) return undefined
  const command = `apt-get update && apt-get install -y --no-install-recommends ${missing.join(' ')}`
  if (process.getuid?.() !== 0 || spawnSync('apt-get', ['--version']).status !== 0) {
    return `Missing: ${missing.join(', ')} (python3 3.9 or newer). As root:  ${command}`
  }
  console.log(`Missing: ${missing.join(', ')}; installing: ${command}`)
  const { status } = spawnSync('sh', ['-c', command], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  })
  return status === 0 && !packages.some(isMissing) ? undefined : `Installing failed: ${command}`
}

function isMissing(name) {
  const [program, ...words] = PACKAGES[name]
  return spawnSync(program, words).status !== 0
}
