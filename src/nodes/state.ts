import { openStore } from '../store/open-store.ts'
import type { JsonValue, Store } from '../store/store.ts'
import { openVault } from '../store/vault.ts'
import type { Vault, VaultKeySource } from '../store/vault.ts'

/** Where the state of this user lies. Both have a default; tests and servers give their own. */
export interface StateOptions {
  /** @default ANYPLACE_HOME, else ~/.anyplace */
  readonly directory?: string | undefined
}

/** How the vault is opened. */
export interface VaultOptions extends StateOptions {
  /** @default ANYPLACE_VAULT_KEY or ANYPLACE_VAULT_PASSPHRASE when set, else the file vault.key in the directory */
  readonly vaultKey?: VaultKeySource | undefined
}

/** Opens the store for one piece of work and closes it, whatever happens. */
export async function withStore<Result>(
  options: StateOptions,
  work: (store: Store) => Promise<Result>,
): Promise<Result> {
  await using store = await openStore({ directory: options.directory })
  return await work(store)
}

/** Opens the vault for one piece of work and closes it, whatever happens. */
export async function withVault<Result>(
  options: VaultOptions,
  work: (vault: Vault) => Promise<Result>,
): Promise<Result> {
  await using vault = await openVault({ directory: options.directory, key: options.vaultKey })
  return await work(vault)
}

/** A record as the store keeps it: what is undefined is left out. */
export function toJson(record: object): JsonValue {
  return JSON.parse(JSON.stringify(record)) as JsonValue
}
