import { lstatSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'

export const AGENT_PREFIX = 'agent-'
export const ASKPASS_PREFIX = 'ask-'
export const SCAN_PREFIX = 'scan-'

/** What lives only as long as a connection is made: seconds, or as long as somebody looks for a password. */
const SHORT_LIVED = new RegExp(`^(${AGENT_PREFIX}|${ASKPASS_PREFIX}|${SCAN_PREFIX})|\\.(conf|pub)$`)
const LEFT_AFTER_MS = 24 * 3600 * 1000

/** Removes from the runtime directory what processes that were killed have left. Control sockets are others' matter. */
export function sweepLeftovers(directory: string): void {
  const before = Date.now() - LEFT_AFTER_MS
  for (const name of readdirSync(directory)) {
    const path = join(directory, name)
    try {
      if (SHORT_LIVED.test(name) && lstatSync(path).mtimeMs < before) rmSync(path, { recursive: true, force: true })
    } catch {
      // Another process was faster.
    }
  }
}
