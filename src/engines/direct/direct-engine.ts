import { AnyplaceError } from '../../spec/index.ts'
import type { CallOptions, Engine, Finding, Host, Machine, OpenRequest } from '../../spec/index.ts'
import { checkAbsolute } from '../sandbox-directory/check-needs.ts'
import { DirectoryHost, undoStart } from '../sandbox-directory/directory-host.ts'
import { keptSandboxes } from '../sandbox-directory/kept-sandboxes.ts'
import { findPython, INSTALL_PYTHON, requirePython } from '../sandbox-directory/python.ts'
import { removalArgv, reserve, sandboxDirectory } from '../sandbox-directory/sandbox-store.ts'
import { refuseUnenforceable } from './refuse.ts'

const NAME = 'direct'

/**
 * Commands run on the machine itself, in a directory of their own: no isolation, the same sandbox interface. The lifetime
 * and kills hold against crashes, not against hostile code.
 */
export function directEngine(machine: Machine): Engine {
  return {
    name: NAME,
    open: (request) => open(machine, request),
    ...keptSandboxes(machine, NAME),
    check: (options) => check(machine, options),
  }
}

async function open(machine: Machine, request: OpenRequest): Promise<Host> {
  const { signal, spec } = request
  const facts = await machine.facts({ signal })
  refuseUnenforceable(spec, facts)
  const directory = sandboxDirectory(facts.stateDirectory, request.id)
  const workspace = await existingWorkspace(machine, spec.workspace, request)
  const workdir = workdirOf(spec.workdir, workspace ?? `${directory}/workspace`)
  const python = await requirePython(machine, NAME, { signal })
  const record = await reserve(machine, request, {
    engine: NAME,
    python,
    facts,
    isolation: 'none',
    network: 'host',
    workdir,
    directories: ['run', 'workspace', 'journal'],
    ownUser: false,
    withLimits: false,
  })
  const daemon = {
    env: spec.env ?? {},
    journalDirectory: `${directory}/journal`,
    ownPidNamespace: false,
    idleTimeoutMs: request.lifetime.idleTimeoutMs,
    atEnd: await removalArgv(facts.stateDirectory, record),
  }
  try {
    return await DirectoryHost.start(machine, facts, record, daemon, { signal })
  } catch (error) {
    return await undoStart(machine, facts, record, request, error)
  }
}

async function existingWorkspace(
  machine: Machine,
  workspace: string | undefined,
  options: CallOptions,
): Promise<string | undefined> {
  if (workspace === undefined) return undefined
  const path = checkAbsolute(workspace, 'workspace')
  // A listing fails for what is no directory; one that is empty may be missing, which its parent tells.
  const names = await machine.listDirectory(path, { signal: options.signal })
  const slash = path.lastIndexOf('/')
  const siblings = names.length > 0 ? [] : await machine.listDirectory(path.slice(0, slash) || '/', options)
  if (names.length > 0 || path === '/' || siblings.includes(path.slice(slash + 1))) return path
  throw new AnyplaceError('file-not-found', `The workspace ${JSON.stringify(workspace)} does not exist.`, {
    field: 'workspace',
    hint: 'make the directory first',
  })
}

/** `/workspace`, the name that it has with every other engine, stands for the sandbox's own directory. */
export function workdirOf(workdir: string | undefined, base: string): string {
  if (workdir === undefined) return base
  if (!workdir.startsWith('/')) return checkAbsolute(`${base}/${workdir}`, 'workdir')
  const path = checkAbsolute(workdir, 'workdir')
  return path === '/workspace' || path.startsWith('/workspace/') ? `${base}${path.slice('/workspace'.length)}` : path
}

async function check(machine: Machine, options: CallOptions = {}): Promise<Finding> {
  const { platform } = await machine.facts(options)
  if (platform !== 'linux')
    return {
      subject: NAME,
      status: 'unavailable',
      message: `runs on Linux only, and ${machine.label} is not`,
      hint: 'use docker or podman',
    }
  const python = await findPython(machine, options)
  return python === undefined
    ? { subject: NAME, status: 'unavailable', message: 'there is no Python 3.9 or later', hint: INSTALL_PYTHON }
    : { subject: NAME, status: 'ok', message: `no isolation; commands run on ${machine.label} itself, by ${python}` }
}
