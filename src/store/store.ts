/** What a store keeps: anything that JSON can say. */
export type JsonValue = null | boolean | number | string | readonly JsonValue[] | { readonly [key: string]: JsonValue }

/** A value and where it stands in the order of all changes. */
export interface Entry {
  readonly key: string
  readonly value: JsonValue
  /** Grows with every change of the whole store, so it is never used twice, not even after a delete. */
  readonly version: number
}

/**
 * Durable state that several processes share. Each call is one atomic step, on disk when it resolves.
 *
 * A namespace belongs to one room of the program; keys are any text without NUL.
 */
export interface Store extends AsyncDisposable {
  get(namespace: string, key: string): Promise<Entry | undefined>
  /** Writes whatever was there before; gives the new version. */
  set(namespace: string, key: string, value: JsonValue): Promise<number>
  /**
   * Writes only when the entry still has that version (0: when there is none). Gives the new version, or undefined when
   * somebody else was faster.
   */
  compareAndSet(namespace: string, key: string, version: number, value: JsonValue): Promise<number | undefined>
  /** True when there was such an entry; with `version`, only when it still had that one. */
  delete(namespace: string, key: string, version?: number): Promise<boolean>
  /** Entries whose key begins with the prefix, in the order of their keys. @default prefix '' */
  list(namespace: string, prefix?: string): Promise<readonly Entry[]>
  /** Idempotent. */
  close(): Promise<void>
}
