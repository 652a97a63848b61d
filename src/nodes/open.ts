import type { CallOptions, Finding, HostInfo } from '../spec/index.ts'
import { attachSandbox, notFound } from '../sandboxes/attach-sandbox.ts'
import type { AttachSandboxOptions } from '../sandboxes/attach-sandbox.ts'
import { collectGarbage } from '../sandboxes/gc.ts'
import type { GcOptions, GcReport } from '../sandboxes/gc.ts'
import type { SandboxOptions } from '../sandboxes/open-options.ts'
import { openSandbox } from '../sandboxes/open-sandbox.ts'
import type { Sandbox } from '../sandboxes/sandbox.ts'
import { Image } from '../images/image.ts'
import { checkClient } from './check-client.ts'
import { resolveNode } from './resolve-node.ts'

/** Where a call goes. */
export interface NodeOptions {
  /**
   * A node: `local` or one that was added, with an engine behind a slash if you like: `local/docker`, `gpu-box/direct`.
   *
   * @default ANYPLACE_ON, else the default node, else 'local'
   */
  readonly on?: string | undefined
}

export interface OpenOptions extends Omit<SandboxOptions, 'image'>, NodeOptions {
  /** @default 'python:3.12-slim' where the engine uses images */
  readonly image?: string | Image | undefined
}

/**
 * Opens a sandbox: one isolated place to run commands in.
 *
 * @example
 * await using box = await open({ on: 'local', timeoutMs: 300_000 })
 * const { stdout } = await box.run(['python3', '-c', 'print(6 * 7)'])
 * @throws AnyplaceError `invalid-argument` with all faults, `unsupported` for what cannot be enforced, `conflict` when the
 *   name runs with another spec, `engine-unavailable`, `image-not-found`, `not-found` for an unknown node, `cancelled`
 */
export async function open(options: OpenOptions = {}): Promise<Sandbox> {
  const { on, image, ...rest } = options
  const node = await resolveNode(on)
  return openSandbox(node, {
    ...rest,
    ...(image === undefined ? {} : { image: image instanceof Image ? image.reference : image }),
  })
}

/**
 * Connects to a running sandbox by name or id. Its lifetime stays as it is; disposal only lets go of it.
 *
 * @throws AnyplaceError `sandbox-not-found`
 */
export async function attach(nameOrId: string, options: AttachSandboxOptions & NodeOptions = {}): Promise<Sandbox> {
  const { on, ...rest } = options
  return attachSandbox(await resolveNode(on), nameOrId, rest)
}

/** A sandbox of a list. */
export interface ListedSandbox extends HostInfo {
  /** The value of `on` that reaches it: `local/docker`, `gpu-box/direct`. */
  readonly on: string
}

/** Every sandbox of a node, running or not. */
export async function* list(options: CallOptions & NodeOptions = {}): AsyncIterable<ListedSandbox> {
  const { on, ...rest } = options
  const { name, provider, engine } = await resolveNode(on)
  for await (const info of provider.list(rest)) {
    if (engine !== undefined && info.engine !== engine) continue
    yield { ...info, on: info.engine === undefined ? name : `${name}/${info.engine}` }
  }
}

/** Removes sandboxes that have ended or expired, and those whose owner is proven dead; keeps all else and says why. */
export async function gc(options: GcOptions & NodeOptions = {}): Promise<GcReport> {
  const { on, ...rest } = options
  return collectGarbage(await resolveNode(on), rest)
}

/**
 * Ends a sandbox by name or id and removes what is left of it, also when it has ended already.
 *
 * @throws AnyplaceError `sandbox-not-found`
 */
export async function remove(nameOrId: string, options: CallOptions & NodeOptions = {}): Promise<void> {
  const { on, ...rest } = options
  const { provider } = await resolveNode(on)
  const ids: string[] = []
  for await (const info of list(options)) {
    if (info.id === nameOrId || info.name === nameOrId) ids.push(info.id)
  }
  if (ids.length === 0) throw await notFound(provider, nameOrId, rest)
  for (const id of ids) await provider.remove(id, rest)
}

/** What works on a node, what does not, and the next step. */
export async function doctor(options: CallOptions & NodeOptions = {}): Promise<Finding[]> {
  const { on, ...rest } = options
  const { provider, engine } = await resolveNode(on)
  const findings = await provider.check(rest)
  return [...checkClient(), ...findings.filter((finding) => engine === undefined || concerns(finding, engine))]
}

function concerns(finding: Finding, engine: string): boolean {
  return finding.subject === engine || !['docker', 'podman', 'namespace', 'direct'].includes(finding.subject)
}
