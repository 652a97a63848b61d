import { mkdir, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { ownKnownHosts } from './master.ts'
import { servePrivateAgent } from './private-agent.ts'
import { runtimeDirectory, uniqueName } from './runtime-directory.ts'
import { configText, destination, resolveTarget } from './ssh-config.ts'
import type { ResolvedTarget } from './ssh-config.ts'
import type { SshTarget } from './ssh-target.ts'

/** What one call of ssh needs beside its options: our config, and the words that name the target. */
export interface Login {
  readonly resolved: ResolvedTarget
  /** For `ssh -F`. */
  readonly configPath: string
  /** With `--` in it: behind them stands the command only. */
  readonly destination: readonly string[]
}

/**
 * Lends a config, and the private agent where the target logs in with a key of the vault, for one piece of work; both are
 * gone afterwards. For single calls; what is used often goes over a master.
 *
 * @param options.keyOnlyForHops leave the vault alone when there is no host on the way
 */
export async function withLogin<Result>(
  target: SshTarget,
  options: { readonly signal: AbortSignal; readonly keyOnlyForHops?: boolean },
  work: (login: Login) => Promise<Result>,
): Promise<Result> {
  const { signal } = options
  const knownHosts = ownKnownHosts()
  if (target.acceptNewHostKey === true) await mkdir(dirname(knownHosts), { recursive: true, mode: 0o700 })
  const resolved = await resolveTarget(target, { signal })
  const hasHops = resolved.lines.some((line) => /^proxy(jump|command) (?!none$)/.test(line))
  const needsKey = target.identity.kind === 'key' && (hasHops || options.keyOnlyForHops !== true)
  const key = needsKey && target.identity.kind === 'key' ? await target.identity.open() : undefined
  const base = join(await runtimeDirectory(), uniqueName())
  const [configPath, keyPath] = [`${base}.conf`, `${base}.pub`]
  const agent = key === undefined ? undefined : await servePrivateAgent([key], { signal })
  try {
    if (key !== undefined) {
      const line = `${key.type} ${Buffer.from(key.publicBlob).toString('base64')}\n`
      await writeFile(keyPath, line, { mode: 0o600, flag: 'wx' })
    }
    const credentials = {
      agentSocket: agent?.socketPath,
      identityFile: key !== undefined ? keyPath : target.identity.kind === 'file' ? target.identity.path : undefined,
    }
    await writeFile(configPath, configText(target, resolved, credentials, knownHosts), { mode: 0o600, flag: 'wx' })
    return await work({ resolved, configPath, destination: destination(target, credentials) })
  } finally {
    await agent?.close()
    await Promise.all([rm(configPath, { force: true }), rm(keyPath, { force: true })])
  }
}
