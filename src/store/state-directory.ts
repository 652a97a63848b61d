import { mkdirSync, statSync } from 'node:fs'
import type { Stats } from 'node:fs'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { AnyplaceError } from '../spec/index.ts'
import { fileError } from '../kit/file-error.ts'

/** Where this user's state lies: ANYPLACE_HOME, else `.anyplace` in the home directory. Absolute; nothing is made. */
export function stateDirectory(env: Readonly<Record<string, string | undefined>> = process.env): string {
  const home = env['ANYPLACE_HOME']
  return home === undefined || home === '' ? join(homedir(), '.anyplace') : resolve(home)
}

/**
 * Makes a directory that only its owner can enter, or checks that an existing one is so. It is never changed: it might be
 * a shared one that was named by mistake.
 *
 * @throws AnyplaceError `permission-denied` when others may enter it or own it; `not-a-directory`
 */
export function ensurePrivateDirectory(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    const stats = statSync(directory)
    assertPrivate(stats, directory, 'chmod 700')
  } catch (error) {
    throw fileError(error, 'use the state directory', directory)
  }
}

/** @throws AnyplaceError `permission-denied` unless we own it and nobody else may do anything with it */
export function assertPrivate(stats: Stats, path: string, command: 'chmod 600' | 'chmod 700'): void {
  const uid = process.getuid?.()
  if (uid !== undefined && stats.uid !== uid) {
    throw new AnyplaceError(
      'permission-denied',
      `${JSON.stringify(path)} belongs to user ${stats.uid}, not to you (${uid}).`,
      {
        hint: 'set ANYPLACE_HOME to a directory of your own',
      },
    )
  }
  const mode = stats.mode & 0o777
  if ((mode & 0o077) !== 0) {
    throw new AnyplaceError(
      'permission-denied',
      `${JSON.stringify(path)} is open to others (mode ${mode.toString(8)}).`,
      {
        hint: `${command} ${JSON.stringify(path)}`,
      },
    )
  }
}
