import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { NodeSSH } from 'node-ssh'
import { Client } from 'ssh2'
import type { SshLab } from './lab.ts'

/** A connected client of ssh2, as its users would set it up, with the host's key checked. */
export async function connectSsh2(lab: SshLab): Promise<Client> {
  const client = new Client()
  await new Promise<void>((resolve, reject) => {
    client.once('ready', resolve).once('error', reject)
    client.connect({
      host: '127.0.0.1',
      port: lab.port,
      username: lab.user,
      privateKey: readFileSync(lab.keyFile),
      hostVerifier: (key: Buffer) => key.equals(lab.hostKey),
    })
  })
  return client
}

/** One command over a channel of its own, output read, exit code known. */
export function execSsh2(client: Client, command: string): Promise<number> {
  return new Promise((resolve, reject) => {
    client.exec(command, (error, stream) => {
      if (error !== undefined) {
        reject(error)
        return
      }
      stream.resume()
      stream.stderr.resume()
      stream.once('close', (code: number) => resolve(code))
    })
  })
}

export async function connectNodeSsh(lab: SshLab): Promise<NodeSSH> {
  return new NodeSSH().connect({
    host: '127.0.0.1',
    port: lab.port,
    username: lab.user,
    privateKeyPath: lab.keyFile,
    hostVerifier: (key: Buffer) => key.equals(lab.hostKey),
  })
}

/**
 * A server counts a channel until its process is reaped, so 8 at once reach its limit of 10 now and then. A caller must try
 * again, as here.
 */
export async function untilOpen<T>(once: () => Promise<T>): Promise<T> {
  for (let tries = 0; ; tries++) {
    try {
      return await once()
    } catch (error) {
      if (tries === 1000 || !(error instanceof Error) || !error.message.includes('Channel open failure')) throw error
      await delay(1)
    }
  }
}
