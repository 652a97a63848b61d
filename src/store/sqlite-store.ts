import type { Client, InStatement, ResultSet, Row } from '@libsql/client'
import { AnyplaceError } from '../spec/index.ts'
import { assertNoNul } from '../kit/text-bytes.ts'
import type { Entry, JsonValue, Store } from './store.ts'
import { storeError } from './store-error.ts'

const NEXT_VERSION = 'UPDATE revision SET value = value + 1'
const VERSION = '(SELECT value FROM revision)'

/** The store over SQLite. Made by `openStore`, which gives it an open database of today's schema. */
export class SqliteStore implements Store {
  readonly #client: Client
  readonly #path: string

  constructor(client: Client, path: string) {
    this.#client = client
    this.#path = path
  }

  async get(namespace: string, key: string): Promise<Entry | undefined> {
    const [result] = await this.#run('read', [
      { sql: 'SELECT key, value, version FROM entries WHERE namespace = ? AND key = ?', args: [namespace, key] },
    ])
    const row = result?.rows[0]
    return row === undefined ? undefined : entryOf(row)
  }

  async set(namespace: string, key: string, value: JsonValue): Promise<number> {
    const version = await this.#change({
      sql: `INSERT INTO entries (namespace, key, value, version) VALUES (?, ?, ?, ${VERSION})
            ON CONFLICT DO UPDATE SET value = excluded.value, version = excluded.version`,
      args: [checked(namespace, 'namespace'), checked(key, 'key'), json(value)],
    })
    if (version === undefined) throw new AnyplaceError('internal', `The store did not take ${JSON.stringify(key)}.`)
    return version
  }

  async compareAndSet(namespace: string, key: string, version: number, value: JsonValue): Promise<number | undefined> {
    const names = [checked(namespace, 'namespace'), checked(key, 'key')]
    return this.#change(
      version === 0
        ? {
            sql: `INSERT INTO entries (namespace, key, value, version) VALUES (?, ?, ?, ${VERSION}) ON CONFLICT DO NOTHING`,
            args: [...names, json(value)],
          }
        : {
            sql: `UPDATE entries SET value = ?, version = ${VERSION} WHERE namespace = ? AND key = ? AND version = ?`,
            args: [json(value), ...names, version],
          },
    )
  }

  async delete(namespace: string, key: string, version?: number): Promise<boolean> {
    const [result] = await this.#run('write', [
      {
        sql: 'DELETE FROM entries WHERE namespace = ? AND key = ? AND (? IS NULL OR version = ?)',
        args: [namespace, key, version ?? null, version ?? null],
      },
    ])
    return result?.rowsAffected === 1
  }

  async list(namespace: string, prefix = ''): Promise<readonly Entry[]> {
    const [result] = await this.#run('read', [
      {
        sql: `SELECT key, value, version FROM entries
              WHERE namespace = ? AND key >= ? AND substr(key, 1, length(?)) = ? ORDER BY key`,
        args: [namespace, prefix, prefix, prefix],
      },
    ])
    return (result?.rows ?? []).map(entryOf)
  }

  close(): Promise<void> {
    if (!this.#client.closed) this.#client.close()
    return Promise.resolve()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** The new version, or undefined when the statement changed nothing. */
  async #change(statement: InStatement): Promise<number | undefined> {
    const [, change, revision] = await this.#run('write', [NEXT_VERSION, statement, 'SELECT value FROM revision'])
    return change?.rowsAffected === 1 ? Number(revision?.rows[0]?.['value']) : undefined
  }

  async #run(mode: 'read' | 'write', statements: InStatement[]): Promise<ResultSet[]> {
    try {
      return await this.#client.batch(statements, mode)
    } catch (error) {
      throw storeError(error, this.#path)
    }
  }
}

function entryOf(row: Row): Entry {
  return {
    key: row['key'] as string,
    value: JSON.parse(row['value'] as string) as JsonValue,
    version: Number(row['version']),
  }
}

function checked(name: string, field: string): string {
  assertNoNul(name, field)
  return name
}

function json(value: JsonValue): string {
  const text: unknown = JSON.stringify(value)
  if (typeof text === 'string') return text
  throw new AnyplaceError('invalid-argument', `A value of type ${typeof value} cannot be stored.`, { field: 'value' })
}
