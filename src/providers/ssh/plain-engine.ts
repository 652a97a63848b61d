import { refuseUnenforceable } from '../../engines/direct/refuse.ts'
import { workdirOf } from '../../engines/direct/direct-engine.ts'
import { checkAbsolute } from '../../engines/sandbox-directory/check-needs.ts'
import { parseRecord } from '../../engines/sandbox-directory/record.ts'
import type { SandboxRecord } from '../../engines/sandbox-directory/record.ts'
import { collectBytes } from '../../kit/collect.ts'
import { abortError, throwIfAborted } from '../../kit/deadline.ts'
import { packageText } from '../../kit/package-text.ts'
import { quoteArgv, quoteShell } from '../../kit/quote.ts'
import { utf8Lossy } from '../../kit/text-bytes.ts'
import { AnyplaceError, unsupportedField } from '../../spec/index.ts'
import type { CallOptions, Channel, Engine, Finding, Host, HostInfo, OpenRequest } from '../../spec/index.ts'
import type { HostLink } from './host-link.ts'
import { place } from './ssh-failure.ts'

const ID = /^[a-z0-9]{12,64}$/
const NAME = 'direct'
const MAX_ANSWER_BYTES = 16 * 1024 * 1024

type Linked = () => Promise<HostLink>

/**
 * The engine `direct` on a host without Python: a directory for each sandbox, made and removed by sh, and an ssh session for
 * each command. The same interface, slower; what needs a daemon is refused.
 */
export function plainEngine(linked: Linked): Engine {
  return {
    name: NAME,
    open: (request) => open(linked, request),
    async attach(nameOrId, options) {
      for await (const record of records(linked, options)) {
        if (record.id !== nameOrId && record.name !== nameOrId) continue
        if (infoOf(record).state === 'running') return new PlainHost(linked, record)
      }
      return undefined
    },
    async *list(options) {
      for await (const record of records(linked, options)) yield infoOf(record)
    },
    remove: (id, options) => remove(linked, id, options),
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
  const text = await packageText(new URL('./plain-sandbox.sh', import.meta.url))
  const common = { state: facts.stateDirectory, id: request.id }
  throwIfAborted(signal)
  // Not cut off in the middle, which would leave what nobody knows of.
  const [answer, holder = ''] = await ask(linked, 'make', {
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

class PlainHost implements Host {
  readonly id: string
  readonly name: string
  readonly provider = 'ssh'
  readonly #linked: Linked
  readonly #record: SandboxRecord
  #closing: Promise<void> | undefined

  constructor(linked: Linked, record: SandboxRecord) {
    this.#linked = linked
    this.#record = record
    this.id = record.id
    this.name = record.name
  }

  async connect(): Promise<Channel> {
    throw new AnyplaceError('no-exec-daemon', 'The host has no Python 3.9 or later.', { hint: 'install python3 there' })
  }

  async channel(argv: readonly string[], options: Parameters<NonNullable<Host['channel']>>[1] = {}): Promise<Channel> {
    const { signal, user, tty = false, env = {}, cwd } = options
    const { facts, sessions } = await this.#linked()
    if (user !== undefined && user !== String(facts.uid))
      throw unsupportedField(
        'user',
        user,
        'The direct engine',
        `commands run as uid ${facts.uid} there`,
        'leave out user',
      )
    if (tty)
      throw new AnyplaceError('unsupported', 'A host without Python has no terminals.', {
        hint: 'install python3 there',
      })
    const inner = [...Object.entries(env).map(([name, value]) => `${name}=${value}`), ...argv]
    const words = Object.keys(env).length === 0 ? argv : ['env', ...inner]
    const from = cwd === undefined ? words : ['/bin/sh', '-c', 'cd -- "$1" && shift && exec "$@"', 'sh', cwd, ...words]
    const enter = `${facts.stateDirectory}/sandboxes/${this.id}/enter.sh`
    try {
      return await sessions.run(['/bin/sh', enter, ...from], { signal, needs: enter })
    } catch (error) {
      throw AnyplaceError.is(error, 'file-not-found') ? this.#gone() : error
    }
  }

  async info(options: CallOptions = {}): Promise<HostInfo> {
    for await (const record of records(this.#linked, options)) if (record.id === this.id) return infoOf(record)
    throw this.#gone()
  }

  #gone(): AnyplaceError {
    const why = Date.now() >= this.#record.expiresAtMs ? 'its lifetime ended' : 'it was removed'
    return new AnyplaceError('sandbox-gone', `Sandbox ${JSON.stringify(this.name)} has ended: ${why}.`)
  }

  close(options: CallOptions = {}): Promise<void> {
    this.#closing ??= remove(this.#linked, this.#record.id, options).catch((error: unknown) => {
      this.#closing = undefined // it may be tried again
      throw error
    })
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

async function remove(linked: Linked, id: string, options: CallOptions = {}): Promise<void> {
  if (!ID.test(id)) return
  const { facts } = await linked()
  await ask(linked, 'remove', { state: facts.stateDirectory, id }, options)
}

async function* records(linked: Linked, options: CallOptions = {}): AsyncIterable<SandboxRecord> {
  const { facts } = await linked()
  for (const text of await ask(linked, 'list', { state: facts.stateDirectory }, options)) {
    try {
      const record = parseRecord(Buffer.from(text), `${facts.stateDirectory}/sandboxes`)
      if (record.engine === NAME && ID.test(record.id)) yield record
    } catch (error) {
      // One that cannot be read does not hide the others.
      if (!AnyplaceError.is(error, 'internal')) throw error
    }
  }
}

function infoOf(record: SandboxRecord): HostInfo {
  const isOver = Date.now() >= record.expiresAtMs
  return {
    id: record.id,
    name: record.name,
    provider: 'ssh',
    engine: record.engine,
    state: isOver ? 'exited' : 'running',
    createdAt: new Date(record.createdAtMs),
    expiresAt: new Date(record.expiresAtMs),
    owner: record.owner ?? undefined,
    labels: record.labels,
    specDigest: record.specDigest,
    isolation: record.isolation,
    limits: record.limits,
    network: record.network,
    workdir: record.workdir,
    ...(isOver ? { reason: 'its lifetime ended' } : {}),
  }
}

/** Runs one verb of plain-sandbox.sh and gives the fields that it says. Its words travel on stdin, never in argv. */
async function ask(
  linked: Linked,
  verb: 'make' | 'remove' | 'list',
  words: Readonly<Record<string, string>>,
  options: CallOptions = {},
): Promise<readonly string[]> {
  const text = await packageText(new URL('./plain-sandbox.sh', import.meta.url))
  const { sessions, target } = await linked()
  await using channel = await sessions.run(['/bin/sh', '-s'], options)
  channel.stdin.on('error', () => undefined) // the exit code says why it did not read
  channel.stdin.end(`${assignments(words)}${text}\n${verb}\n`)
  const [output, errors, exit] = await Promise.all([
    collectBytes(channel.stdout, { maxBytes: MAX_ANSWER_BYTES }),
    collectBytes(channel.stderr, { maxBytes: MAX_ANSWER_BYTES }),
    channel.exit,
  ])
  if (exit.exitCode !== 0) {
    const said = utf8Lossy(errors).trim().split('\n').at(-1) ?? ''
    const code = /Permission denied|not permitted|Read-only/.test(said)
      ? 'permission-denied'
      : /No space|quota/.test(said)
        ? 'no-space'
        : 'internal'
    throw new AnyplaceError(
      code,
      `Keeping sandboxes on ${place(target, undefined)} failed: ${said || `exit code ${exit.exitCode}`}`,
    )
  }
  return utf8Lossy(output).split('\0').slice(0, -1)
}

function assignments(words: Readonly<Record<string, string>>): string {
  return Object.entries(words)
    .map(([name, value]) => `${name}=${quoteShell(value)}\n`)
    .join('')
}
