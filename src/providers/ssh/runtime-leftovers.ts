import { lstatSync, readdirSync, rmSync } from 'node:fs'
import { createConnection } from 'node:net'
import { join } from 'node:path'

export const AGENT_PREFIX = 'agent-'
export const ASKPASS_PREFIX = 'ask-'
export const SCAN_PREFIX = 'scan-'

/** What lives only as long as a connection is made: seconds, or as long as somebody looks for a password. */
const SHORT_LIVED = new RegExp(`^(${AGENT_PREFIX}|${ASKPASS_PREFIX}|${SCAN_PREFIX})|\\.(conf|pub)$`)
const LEFT_AFTER_MS = 24 * 3600 * 1000

/** A master that has ended removes its own name of the socket, and not the one that others share it by. */
const DEAD_AFTER_MS = 600_000

/** Removes the control sockets behind which no master listens any more. Never rejects, and keeps no program running. */
export async function removeDeadSockets(directory: string): Promise<void> {
  const before = Date.now() - DEAD_AFTER_MS
  try {
    for (const name of readdirSync(directory)) {
      const path = join(directory, name)
      const found = lstatSync(path, { throwIfNoEntry: false })
      if (found === undefined || !found.isSocket() || found.ctimeMs > before || !(await isRefused(path))) continue
      // Unless a new one took its place meanwhile.
      if (lstatSync(path, { throwIfNoEntry: false })?.ino === found.ino) rmSync(path, { force: true })
    }
  } catch {
    // Another process was faster; the next connection looks again.
  }
}

function isRefused(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(path).unref()
    const settle = (refused: boolean): void => {
      socket.destroy()
      resolve(refused)
    }
    socket.once('connect', () => settle(false))
    socket.once('error', (error: NodeJS.ErrnoException) => settle(error.code === 'ECONNREFUSED'))
  })
}

/** Removes from the runtime directory what processes that were killed have left while they connected. */
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
