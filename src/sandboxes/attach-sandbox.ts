import { AnyplaceError } from '../spec/index.ts'
import type { CallOptions, Provider } from '../spec/index.ts'
import { throwIfAborted } from '../kit/deadline.ts'
import { environment } from './field-checks.ts'
import { connectSandbox } from './open-sandbox.ts'
import type { SessionOpener } from './open-session.ts'
import { Redactor } from './redactor.ts'
import type { Sandbox } from './sandbox.ts'
import { suggest } from './suggest.ts'

export interface AttachSandboxOptions extends CallOptions {
  /** As for `open`; they are not kept anywhere, so each client gives its own. */
  readonly secrets?: Readonly<Record<string, string>> | undefined
}

/**
 * Connects to a running sandbox by name or id. Its lifetime stays as it is; disposal only lets go of it.
 *
 * @throws AnyplaceError `sandbox-not-found`
 */
export async function attachSandbox(
  context: { readonly provider: Provider; readonly engine?: string | undefined; readonly openSession?: SessionOpener },
  nameOrId: string,
  options: AttachSandboxOptions = {},
): Promise<Sandbox> {
  const { secrets = {}, signal } = options
  const fault = environment(secrets)
  if (fault !== undefined) {
    throw new AnyplaceError('invalid-argument', `Cannot attach: secrets ${fault}.`, { field: 'secrets' })
  }
  throwIfAborted(signal)
  const redactor = new Redactor(secrets)
  try {
    const host = await context.provider.attach(nameOrId, { signal })
    const isElsewhere = host && context.engine !== undefined && (await host.info({ signal })).engine !== context.engine
    if (host === undefined || isElsewhere) throw await notFound(context.provider, nameOrId, { signal })
    return await connectSandbox(host, { secrets, signal, endsOnDispose: false, openSession: context.openSession })
  } catch (error) {
    throw redactor.error(error)
  }
}

/** The `sandbox-not-found` error for a name, with the name that was probably meant. */
export async function notFound(provider: Provider, nameOrId: string, options: CallOptions): Promise<AnyplaceError> {
  const names: string[] = []
  try {
    for await (const info of provider.list(options)) {
      if (info.state === 'running') names.push(info.name)
      else if (info.name === nameOrId || info.id === nameOrId) {
        const why = info.state === 'exited' ? `has ended${info.reason ? `: ${info.reason}` : ''}` : 'is still starting'
        return new AnyplaceError('sandbox-not-found', `Sandbox ${JSON.stringify(nameOrId)} ${why}.`)
      }
    }
  } catch {
    // The list only makes the message better.
  }
  const meant = suggest(nameOrId, names)
  const hint = meant ? `did you mean ${meant}?` : '"anyplace ps" shows what runs; for another node, name it with --on'
  return new AnyplaceError('sandbox-not-found', `No sandbox named ${JSON.stringify(nameOrId)} runs.`, { hint })
}
