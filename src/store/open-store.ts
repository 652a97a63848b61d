import { chmodSync, closeSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Client } from '@libsql/client'
import { AnyplaceError } from '../spec/index.ts'
import { fileError } from '../kit/file-error.ts'
import { MIGRATIONS } from './migrations.ts'
import { SqliteStore } from './sqlite-store.ts'
import { ensurePrivateDirectory, stateDirectory } from './state-directory.ts'
import type { Store } from './store.ts'
import { storeError } from './store-error.ts'
import { whileBusy } from './while-busy.ts'

/**
 * How long SQLite waits for another process's write. The wait stops this process too, which is fine while writes are single
 * batches of some milliseconds: keep them so.
 */
const BUSY_TIMEOUT_MS = 5000
const VERSION_TABLE =
  'CREATE TABLE IF NOT EXISTS schema_version (version INTEGER PRIMARY KEY, applied_at TEXT NOT NULL)'

/**
 * Opens the store of this user, `anyplace.db` in the state directory, and brings it up to date. Several processes may have
 * it open.
 *
 * @param options.directory @default ANYPLACE_HOME, else ~/.anyplace; made with mode 0700 when missing
 * @throws AnyplaceError `unsupported` when a newer Anyplace wrote it; `permission-denied`, `no-space`,
 * `resource-exhausted` when another process holds it too long
 */
export async function openStore(options: { readonly directory?: string | undefined } = {}): Promise<Store> {
  const directory = options.directory ?? stateDirectory()
  ensurePrivateDirectory(directory)
  const path = join(directory, 'anyplace.db')
  try {
    // SQLite would make it by the umask; its journal files take the mode of this one.
    closeSync(openSync(path, 'a', 0o600))
    chmodSync(path, 0o600)
  } catch (error) {
    throw fileError(error, 'open the store', path)
  }
  const { createClient } = await import('@libsql/client')
  const open = async (): Promise<Store> => {
    const client = createClient({ url: pathToFileURL(path).href, concurrency: 1, timeout: BUSY_TIMEOUT_MS })
    try {
      await client.execute('PRAGMA journal_mode = WAL')
      await migrate(client, path)
      return new SqliteStore(client, path)
    } catch (error) {
      client.close()
      throw error
    }
  }
  try {
    // Each try takes a new connection: one that failed keeps a statement open, and with it an old view of the data.
    return await whileBusy(open)
  } catch (error) {
    throw storeError(error, path)
  }
}

/**
 * Each step is one batch, which the client runs without a pause. A transaction over several calls would let a second
 * opening of the same process wait for it, and that wait stops the whole process.
 */
async function migrate(client: Client, path: string): Promise<void> {
  for (;;) {
    const version = await schemaVersion(client)
    if (version === MIGRATIONS.length) return
    if (version > MIGRATIONS.length) {
      throw new AnyplaceError(
        'unsupported',
        `The store ${JSON.stringify(path)} has schema ${version}; this Anyplace knows ${MIGRATIONS.length} at most.`,
        { hint: 'update anyplace, or set ANYPLACE_HOME to another directory' },
      )
    }
    const step = MIGRATIONS[version] ?? []
    const mark = {
      sql: 'INSERT INTO schema_version VALUES (?, ?)',
      args: [version + 1, new Date().toISOString()],
    }
    try {
      await client.batch([VERSION_TABLE, mark, ...step], 'write')
    } catch (error) {
      // Another process took the same step first, and the mark of it stands in our way: look again.
      if ((await schemaVersion(client)) === version) throw error
    }
  }
}

async function schemaVersion(client: Client): Promise<number> {
  const { rows: tables } = await client.execute(
    "SELECT name FROM sqlite_schema WHERE type = 'table' AND name = 'schema_version'",
  )
  if (tables.length === 0) return 0
  const { rows } = await client.execute('SELECT coalesce(max(version), 0) AS version FROM schema_version')
  return Number(rows[0]?.['version'])
}
