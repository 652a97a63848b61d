import type { SandboxRecord } from '../../engines/sandbox-directory/record.ts'
import { AnyplaceError, unsupportedField } from '../../spec/index.ts'
import type { CallOptions, Channel, Host, HostInfo } from '../../spec/index.ts'
import { plainRecords, removePlain } from './plain-verbs.ts'
import type { Linked } from './plain-verbs.ts'

/** A sandbox without a daemon: a directory on the host, and an ssh session for each process in it. */
export class PlainHost implements Host {
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
    for await (const record of plainRecords(this.#linked, this.#record.engine, options))
      if (record.id === this.id) return plainInfo(record)
    throw this.#gone()
  }

  #gone(): AnyplaceError {
    const why = Date.now() >= this.#record.expiresAtMs ? 'its lifetime ended' : 'it was removed'
    return new AnyplaceError('sandbox-gone', `Sandbox ${JSON.stringify(this.name)} has ended: ${why}.`)
  }

  close(options: CallOptions = {}): Promise<void> {
    this.#closing ??= removePlain(this.#linked, this.#record.id, options).catch((error: unknown) => {
      this.#closing = undefined // it may be tried again
      throw error
    })
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

/** The sandbox as its record and the clock tell it. */
export function plainInfo(record: SandboxRecord): HostInfo {
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
