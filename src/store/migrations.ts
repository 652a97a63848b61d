/**
 * The steps from an empty database to today's, in order; a step's number is its place, from 1. Released steps are never
 * changed: a new need is a new step at the end.
 */
export const MIGRATIONS: readonly (readonly string[])[] = [
  [
    `CREATE TABLE revision (only INTEGER PRIMARY KEY CHECK (only = 1), value INTEGER NOT NULL)`,
    `INSERT INTO revision VALUES (1, 0)`,
    `CREATE TABLE entries (
       namespace TEXT NOT NULL,
       key TEXT NOT NULL,
       value TEXT NOT NULL,
       version INTEGER NOT NULL,
       PRIMARY KEY (namespace, key)
     ) WITHOUT ROWID`,
  ],
]
