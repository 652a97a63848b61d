import { debuglog } from 'node:util'
import { keptSandboxes } from '../../engines/sandbox-directory/kept-sandboxes.ts'
import type { Machine } from '../../spec/index.ts'
import { daemonVersion } from './host-script.ts'
import type { HostLink } from './host-link.ts'

const debug = debuglog('anyplace:ssh')
const swept = new WeakSet<HostLink>()

/** Directories of daemons of other versions that nobody has used for a week. A daemon holds nothing that matters. */
async function removeOldDaemons(machine: Machine, directory: string): Promise<void> {
  const old = ['-mindepth', '1', '-maxdepth', '1', '-mtime', '+7', '!', '-name', await daemonVersion()]
  await using channel = await machine.run(['find', directory, ...old, '-exec', 'rm', '-rf', '--', '{}', '+'])
  channel.stdin.end()
  channel.stdout.resume()
  channel.stderr.resume()
  await channel.exit
}

/**
 * Removes what has outlived its lifetime on a host: a sandbox removes itself at its end, but not while the host was off.
 * Once for each link, behind the back of whoever connected; a failure leaves it to the next connection. Never rejects.
 */
export async function sweepExpired(machine: Machine, link: HostLink): Promise<void> {
  if (swept.has(link) || link.facts.python === undefined) return
  swept.add(link)
  try {
    for (const name of ['direct', 'namespace']) {
      const kept = keptSandboxes(machine, name)
      for await (const info of kept.list()) {
        if (info.state === 'exited' && info.expiresAt.getTime() <= Date.now()) await kept.remove(info.id)
      }
    }
    await removeOldDaemons(machine, `${link.facts.stateDirectory}/host`)
  } catch (error) {
    debug('removing expired sandboxes on %s failed: %s', machine.label, error instanceof Error ? error.message : error)
  }
}
