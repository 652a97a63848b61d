/** An SSH host, who we are there, and where our sandboxes live on it. All that the provider needs to know of a node. */
export interface SshTarget {
  /** The node's name: for messages. */
  readonly name: string
  /** A host name, an address, or an alias of the user's ssh config. Never begins with `-`. */
  readonly host: string
  /** @default what the ssh config says, else 22 */
  readonly port?: number | undefined
  /** @default what the ssh config says, else the local user's name */
  readonly username?: string | undefined
  readonly identity: SshIdentity
  /** Directory of our sandboxes on the host; `~` and relative paths are resolved there. @default '~/.anyplace' */
  readonly workspace?: string | undefined
  /** Hosts to go through, the first one first: `user@host:port` or aliases of the ssh config. @default what the ssh config says */
  readonly jumpHosts?: readonly string[] | undefined
  /** Take an unknown host's key at first sight and pin it. A changed key is always refused. @default false */
  readonly acceptNewHostKey?: boolean | undefined
  /** The OpenSSH configuration to read. @default the user's own and the system's */
  readonly configFile?: string | undefined
  /** How long connecting may take. @default 20_000 */
  readonly connectTimeoutMs?: number | undefined
  /** An unused connection is closed after this. @default 300_000 */
  readonly idleCloseMs?: number | undefined
}

/** Which key opens the host. Two identities never share a connection. */
export type SshIdentity =
  /** Whatever the user's own ssh would use: its config, its agent, its default keys. */
  | { readonly kind: 'config' }
  /** A private key file, absolute. ssh itself reads it; a passphrase must be in the user's agent. */
  | { readonly kind: 'file'; readonly path: string }
  /** A key of the vault, opened only when a connection is made. It reaches ssh through a private agent socket, never as a file. */
  | { readonly kind: 'key'; readonly name: string; readonly open: () => Promise<PrivateKey> }

/** A private key in memory. */
export interface PrivateKey {
  /** `ssh-ed25519` or `ssh-rsa`. */
  readonly type: string
  /** The public key in SSH wire form (what base64 shows in an authorized_keys line). */
  readonly publicBlob: Uint8Array
  /** `SHA256:…` as `ssh-keygen -l` prints it. */
  readonly fingerprint: string
  readonly comment: string
  /** PKCS#8 PEM, for node:crypto. */
  readonly pem: string
}
