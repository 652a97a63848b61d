import { refuseUnenforceable } from '../../engines/direct/refuse.ts'
import { workdirOf } from '../../engines/direct/direct-engine.ts'
import { checkAbsolute } from '../../engines/sandbox-directory/check-needs.ts'
import type { SandboxRecord } from '../../engines/sandbox-directory/record.ts'
import { abortError, throwIfAborted } from '../../kit/deadline.ts'
import { quoteArgv, quoteShell } from '../../kit/quote.ts'
import { AnyplaceError, unsupportedField } from '../../spec/index.ts'
import type { Engine, Finding, Host, OpenRequest } from '../../spec/index.ts'
import { PlainHost, plainInfo } from './plain-host.ts'
import { askPlain, assignments, plainRecords, plainScript, removePlain } from './plain-verbs.ts'
import type { Linked } from './plain-verbs.ts'
import { place } from './ssh-failure.ts'

const NAME = 'direct'

/**
 * The engine `direct` on a host without Python: a directory for each sandbox, made and removed by sh, and an ssh session for
 * each command. The same interface, slower; what needs a daemon is refused.
 */
export function plainEngine(linked: Linked): Engine {
  return {
    name: NAME,
    open: (request) => open(linked, request),
    async attach(nameOrId, options) {
      for await (const record of plainRecords(linked, NAME, options)) {
        if (record.id !== nameOrId && record.name !== nameOrId) continue
        if (plainInfo(record).state === 'running') return new PlainHost(linked, record)
      }
      return undefined
    },
    async *list(options) {
      for await (const record of plainRecords(linked, NAME, options)) yield plainInfo(record)
    },
    remove: (id, options) => removePlain(linked, id, options),
    async check(): Promise<Finding> {
      const { target, master } = await linked()
      return {
        subject: NAME,
        status: 'warning',
        message: `no isolation, and an ssh session for each command: ${place(target, master.resolved)} has no Python 3.9 or later`,
        hint: 'install python3 there: commands start some ten times faster, and attach, terminals and ports work',
      }
    },
  }
}

async function open(linked: Linked, request: OpenRequest): Promise<Host> {
  const { spec, lifetime, signal } = request
  const { facts } = await linked()
  refuseUnenforceable(spec, facts)
  if (lifetime.idleTimeoutMs !== undefined)
    throw unsupportedField(
      'idleTimeoutMs',
      lifetime.idleTimeoutMs,
      'The direct engine of a host without Python',
      'nothing there knows what is idle',
      'install python3 on the host',
    )
  const directory = `${facts.stateDirectory}/sandboxes/${request.id}`
  const workspace = spec.workspace === undefined ? undefined : checkAbsolute(spec.workspace, 'workspace')
  const workdir = workdirOf(spec.workdir, workspace ?? `${directory}/workspace`)
  const now = Date.now()
  const record: SandboxRecord = {
    version: 1,
    id: request.id,
    name: request.name,
    engine: NAME,
    createdAtMs: now,
    expiresAtMs: now + lifetime.timeoutMs,
    maxExpiresAtMs: now + lifetime.maxLifetimeMs,
    owner: request.owner ?? null,
    labels: request.labels,
    specDigest: request.specDigest,
    isolation: 'none',
    network: 'host',
    limits: {},
    workdir,
    bootId: facts.bootId,
    python: '',
    cgroups: {},
  }
  const text = await plainScript()
  const common = { state: facts.stateDirectory, id: request.id }
  throwIfAborted(signal)
  // Not cut off in the middle, which would leave what nobody knows of.
  const [answer, holder = ''] = await askPlain(linked, 'make', {
    ...common,
    name: request.name,
    seconds: String(Math.ceil(lifetime.timeoutMs / 1000)),
    record: JSON.stringify(record),
    workdir,
    must: workspace ?? '',
    enter: enterScript(request.id, facts.homeDirectory, workdir, spec.env ?? {}),
    self: `${assignments(common)}${text}\nremove\n`,
  })
  if (answer === 'conflict')
    throw new AnyplaceError(
      'conflict',
      `The name ${JSON.stringify(request.name)} is taken there by sandbox ${holder}.`,
      {
        field: 'name',
        hint: 'attach to it, remove it, or take another name',
      },
    )
  if (answer === 'missing')
    throw new AnyplaceError('file-not-found', `The workspace ${JSON.stringify(spec.workspace)} does not exist.`, {
      field: 'workspace',
      hint: 'make the directory first',
    })
  const host = new PlainHost(linked, record)
  if (signal?.aborted) {
    await host.close()
    throw abortError(signal)
  }
  return host
}

/** What every command of the sandbox passes through: nothing of the login's environment gets by. */
function enterScript(id: string, home: string, workdir: string, env: Readonly<Record<string, string>>): string {
  const all = {
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    HOME: home,
    ...env,
    ANYPLACE_SANDBOX: id,
  }
  const words = Object.entries(all).map(([name, value]) => `${name}=${value}`)
  // The host's own PATH stands behind the usual places: its programs may be elsewhere.
  return `hosts=$PATH\ncd -- ${quoteShell(workdir)} || exit 126\nexec env -i ${quoteArgv(words)} ${'PATH' in env ? '' : `PATH=${quoteShell(all.PATH)}:"$hosts" `}"$@"\n`
}
