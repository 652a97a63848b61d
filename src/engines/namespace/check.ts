import type { CallOptions, Finding, Machine, MachineFacts } from '../../spec/index.ts'
import { collectBytes } from '../../kit/collect.ts'
import { findPython, INSTALL_PYTHON, MACHINE_ENV, script } from '../sandbox-directory/python.ts'
import { INSIDE_ID } from './plan.ts'
import type { Plan } from './plan.ts'

/** A host uid for the check's empty sandbox when root asks; the same range as real ones. */
const PROBE_UID = 2147483647 - 8

/** Kernel settings that forbid what the engine needs, the value that does, and how to allow it. */
const SETTINGS = [
  {
    path: '/proc/sys/kernel/unprivileged_userns_clone',
    forbids: '0',
    hint: 'as root: sysctl kernel.unprivileged_userns_clone=1',
  },
  {
    path: '/proc/sys/kernel/apparmor_restrict_unprivileged_userns',
    forbids: '1',
    hint: 'as root: sysctl kernel.apparmor_restrict_unprivileged_userns=0, or give the interpreter an AppArmor profile that allows userns',
  },
  {
    path: '/proc/sys/user/max_user_namespaces',
    forbids: '0',
    hint: 'as root: sysctl user.max_user_namespaces=15000',
  },
] as const

/**
 * Whether the kernel lets us build a sandbox: an empty one is built. A success is remembered for this boot; a failure never.
 */
export async function checkNamespaces(machine: Machine, options: CallOptions = {}): Promise<Finding> {
  const facts = await machine.facts(options)
  const unavailable = (message: string, hint?: string): Finding => ({
    subject: 'namespace',
    status: 'unavailable',
    message,
    hint,
  })
  if (facts.platform !== 'linux')
    return unavailable(`namespaces are a part of Linux, and ${machine.label} is not`, 'use docker or podman')
  const python = await findPython(machine, options)
  if (python === undefined) return unavailable('there is no Python 3.9 or later', INSTALL_PYTHON)
  const ok: Finding = {
    subject: 'namespace',
    status: 'ok',
    message: `own user, process and file views for every sandbox, by ${python}`,
  }
  const remembered = `${facts.stateDirectory}/namespace-check.json`
  const mark = JSON.stringify({ bootId: facts.bootId, uid: facts.uid, python, version: 1 })
  const known = await machine.readFile(remembered, options).catch(() => undefined)
  if (known !== undefined && Buffer.from(known).toString('utf8') === mark) return ok
  const problem = await tryOne(machine, facts, python, options)
  if (problem === undefined) {
    // Only a memory: where the state cannot be kept, the next check builds one again.
    await machine.writeFile(remembered, Buffer.from(mark), options).catch(() => undefined)
    return ok
  }
  await machine.remove(remembered, options).catch(() => undefined)
  const setting = await forbiddingSetting(machine, options)
  return unavailable(
    setting === undefined ? problem : `${problem}; ${setting.path} is ${setting.forbids}`,
    setting?.hint ?? 'run as root, or where the kernel and the container engine allow user namespaces',
  )
}

/** What went wrong, or undefined. */
async function tryOne(
  machine: Machine,
  facts: MachineFacts,
  python: string,
  options: CallOptions,
): Promise<string | undefined> {
  const directory = `${facts.stateDirectory}/check-${Math.random().toString(36).slice(2, 12)}`
  try {
    for (const name of ['root', 'tmp', 'home']) await machine.makeDirectory(`${directory}/${name}`, options)
    const plan: Plan = {
      id: 'check',
      name: 'check',
      state: facts.stateDirectory,
      directory,
      hostname: 'check',
      network: false,
      host_uid: facts.uid === 0 ? PROBE_UID : null,
      host_gid: facts.uid === 0 ? PROBE_UID : null,
      inside_uid: INSIDE_ID,
      inside_gid: INSIDE_ID,
      slots: null,
      mounts: [],
      devices: [],
      cgroups: {},
      probe: true,
    }
    const argv = [...(await placeArgv(python, plan)), python, '-I', '-S', '-c', 'import ctypes']
    await using channel = await machine.run(argv, { env: MACHINE_ENV, cwd: '/', ...options })
    channel.stdin.end()
    channel.stdout.resume()
    const errors = Buffer.from(await collectBytes(channel.stderr, { maxBytes: 100_000 })).toString('utf8')
    const { exitCode } = await channel.exit
    if (exitCode === 0) return undefined
    return readableProblem(errors) ?? `building an empty sandbox failed with exit code ${exitCode}`
  } catch (error) {
    return `building an empty sandbox failed: ${error instanceof Error ? error.message : String(error)}`
  } finally {
    await machine.remove(directory).catch(() => undefined)
  }
}

async function forbiddingSetting(machine: Machine, options: CallOptions) {
  for (const setting of SETTINGS) {
    const bytes = await machine.readFile(setting.path, options).catch(() => undefined)
    if (bytes !== undefined && Buffer.from(bytes).toString('utf8').trim() === setting.forbids) return setting
  }
  return undefined
}

/** argv of the builder; the command that becomes process 1 follows. */
export async function placeArgv(python: string, plan: Plan): Promise<readonly string[]> {
  const source = await script(new URL('./place.py', import.meta.url))
  return [python, '-I', '-S', '-c', source, JSON.stringify(plan)]
}

/** The builder's one line, without its name. */
export function readableProblem(text: string): string | undefined {
  return /anyplace-namespace: ([^\n]+)/.exec(text)?.[1]
}
