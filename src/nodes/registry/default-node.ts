import { randomBytes } from 'node:crypto'
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { errnoOf, fileError } from '../../kit/file-error.ts'
import { ensurePrivateDirectory, stateDirectory } from '../../store/state-directory.ts'
import type { StateOptions } from '../state.ts'

/**
 * The default node's name lies in a small file beside the store: every call that does not say where it goes reads it, and
 * opening the store would cost such a call more than all the rest of its start.
 */
const FILE = 'default-node'

/** Undefined when none was chosen. */
export function readDefaultNode(options: StateOptions = {}): string | undefined {
  const path = pathOf(options)
  try {
    return readFileSync(path, 'utf8').trim() || undefined
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return undefined
    throw fileError(error, 'read the default node from', path)
  }
}

/** Chooses a default node; undefined chooses none. */
export function writeDefaultNode(name: string | undefined, options: StateOptions = {}): void {
  const path = pathOf(options)
  if (name === undefined) {
    rmSync(path, { force: true })
    return
  }
  const directory = options.directory ?? stateDirectory()
  ensurePrivateDirectory(directory)
  const fresh = `${path}.${randomBytes(4).toString('hex')}`
  try {
    writeFileSync(fresh, `${name}\n`, { mode: 0o600, flag: 'wx' })
    renameSync(fresh, path)
  } catch (error) {
    rmSync(fresh, { force: true })
    throw fileError(error, 'write the default node to', path)
  }
}

function pathOf(options: StateOptions): string {
  return join(options.directory ?? stateDirectory(), FILE)
}
