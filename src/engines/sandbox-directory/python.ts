import { AnyplaceError } from '../../spec/index.ts'
import type { CallOptions, Machine } from '../../spec/index.ts'
import { collectBytes } from '../../kit/collect.ts'
import { packageText } from '../../kit/package-text.ts'

/** The whole environment of what engines start on a machine: nothing of the client's gets through. */
export const MACHINE_ENV: Readonly<Record<string, string>> = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
}
const DIRECTORIES = ['/usr/bin', '/usr/local/bin']
const OLDEST_MINOR = 9

const found = new WeakMap<Machine, string>()

/** How to get Python, for hints. */
export const INSTALL_PYTHON =
  'install it: apt-get install -y python3 (Debian, Ubuntu), dnf install -y python3 (Fedora), apk add python3 (Alpine)'

/**
 * Absolute path of a Python 3.9 or later under /usr, where a sandbox can see it too; undefined when there is none. Version
 * managers' shims in home directories are left alone: they are slow, and invisible inside.
 */
export async function findPython(machine: Machine, options: CallOptions = {}): Promise<string | undefined> {
  const known = found.get(machine)
  if (known !== undefined) return known
  for (const directory of DIRECTORIES) {
    const names = await machine.listDirectory(directory, options)
    const versions = names
      .flatMap((name) => /^python3\.(\d+)$/.exec(name)?.[1] ?? [])
      .map(Number)
      .filter((minor) => minor >= OLDEST_MINOR)
      .toSorted((one, other) => other - one)
    // A named version tells what it is without being started; a plain `python3` has to be asked.
    for (const name of [
      ...versions.map((minor) => `python3.${minor}`),
      ...names.filter((name) => name === 'python3'),
    ]) {
      const path = `${directory}/${name}`
      if (await works(machine, path, options)) {
        found.set(machine, path)
        return path
      }
    }
  }
  return undefined
}

async function works(machine: Machine, path: string, options: CallOptions): Promise<boolean> {
  try {
    const code = `import sys,ctypes;sys.exit(sys.version_info<(3,${OLDEST_MINOR}))`
    await using channel = await machine.run([path, '-I', '-S', '-c', code], { env: MACHINE_ENV, ...options })
    channel.stdin.end()
    channel.stdout.resume()
    channel.stderr.resume()
    return (await channel.exit).exitCode === 0
  } catch (error) {
    if (AnyplaceError.is(error, 'command-not-found') || AnyplaceError.is(error, 'command-not-executable')) return false
    throw error
  }
}

/** @throws AnyplaceError `engine-unavailable` */
export async function requirePython(machine: Machine, engine: string, options: CallOptions = {}): Promise<string> {
  const python = await findPython(machine, options)
  if (python !== undefined) return python
  throw new AnyplaceError(
    'engine-unavailable',
    `The ${engine} engine needs Python 3.9 or later on ${machine.label}, and there is none in ${DIRECTORIES.join(' or ')}.`,
    { hint: INSTALL_PYTHON },
  )
}

/** Source of one of our scripts: files of this package, joined. */
export async function script(...urls: readonly URL[]): Promise<string> {
  return (await Promise.all([new URL('./leavings.py', import.meta.url), ...urls].map(packageText))).join('\n')
}

/** Runs a script with `input` as JSON on its stdin and gives the JSON it prints. Nothing of the input is in argv. */
export async function runScript(
  machine: Machine,
  python: string,
  urls: readonly URL[],
  input: object,
  options: CallOptions = {},
): Promise<Readonly<Record<string, unknown>>> {
  const source = await script(...urls)
  await using channel = await machine.run([python, '-I', '-S', '-c', source], { env: MACHINE_ENV, ...options })
  channel.stdin.on('error', () => undefined) // the exit code below says why it did not read
  channel.stdin.end(JSON.stringify(input))
  const [output, errors, exit] = await Promise.all([
    collectBytes(channel.stdout, { maxBytes: 1024 * 1024 }),
    collectBytes(channel.stderr, { maxBytes: 1024 * 1024 }),
    channel.exit,
  ])
  if (exit.exitCode !== 0) throw scriptFailure(Buffer.from(errors).toString('utf8'), machine)
  return JSON.parse(Buffer.from(output).toString('utf8')) as Readonly<Record<string, unknown>>
}

function scriptFailure(errors: string, machine: Machine): AnyplaceError {
  const last = errors.trimEnd().split('\n').at(-1) ?? ''
  const code = /^PermissionError|Operation not permitted|Permission denied/.test(last)
    ? 'permission-denied'
    : /No space left|Disk quota/.test(last)
      ? 'no-space'
      : 'internal'
  return new AnyplaceError(code, `Keeping the sandbox's state on ${machine.label} failed: ${last || 'no message'}`)
}

/** The part of a script that makes control groups. */
export const CONTROL_GROUPS: URL = new URL('./control_groups.py', import.meta.url)
