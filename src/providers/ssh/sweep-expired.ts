import { debuglog } from 'node:util'
import { keptSandboxes } from '../../engines/sandbox-directory/kept-sandboxes.ts'
import type { Machine } from '../../spec/index.ts'
import type { HostLink } from './host-link.ts'

const debug = debuglog('anyplace:ssh')
const swept = new WeakSet<HostLink>()

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
  } catch (error) {
    debug('removing expired sandboxes on %s failed: %s', machine.label, error instanceof Error ? error.message : error)
  }
}
