import { execFileSync, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { test } from 'vitest'

const SSHD = '/usr/sbin/sshd'

/** A test that needs a server: skipped where there is none, which is said, unless ANYPLACE_EXPECT names ssh targets. */
export const sshTest: typeof test = existsSync(SSHD) || isExpected() ? test : skipped()

function isExpected(): boolean {
  return (process.env['ANYPLACE_EXPECT'] ?? '').split(',').some((name) => name.startsWith('ssh-'))
}

function skipped(): typeof test {
  process.stderr.write(`ssh: tests are skipped, because there is no ${SSHD}; install openssh-server\n`)
  return test.skip as typeof test
}

export interface SshServer extends AsyncDisposable {
  readonly port: number
  /** Its files; removed at the end. */
  readonly directory: string
  /** What it trusts: lines of authorized_keys. May be written at any time. */
  readonly authorizedKeysFile: string
  /** `host key's type` → `SHA256:…`. */
  readonly fingerprints: Readonly<Record<string, string>>
  /** All that it said. */
  log(): string
  /** Makes new host keys and starts again on the same port. */
  renewHostKeys(): Promise<void>
}

export interface SshServerOptions {
  /** More lines of sshd_config, before ours. */
  readonly config?: string
  /** @default ed25519 and rsa */
  readonly hostKeyTypes?: readonly string[]
}

/** A real OpenSSH server of our own on a free port of 127.0.0.1, with its own host keys and configuration. */
export async function startSshServer(options: SshServerOptions = {}): Promise<SshServer> {
  const directory = mkdtempSync(join(tmpdir(), 'anyplace-sshd-'))
  const authorizedKeysFile = join(directory, 'authorized_keys')
  const types = options.hostKeyTypes ?? ['ed25519', 'rsa']
  const fingerprints: Record<string, string> = {}
  const port = await freePort()
  let child: ChildProcess | undefined
  let log = ''
  const makeHostKeys = (): void => {
    for (const type of types) {
      const path = join(directory, `host_${type}`)
      rmSync(path, { force: true })
      execFileSync('ssh-keygen', ['-q', '-t', type, '-N', '', '-f', path, ...(type === 'rsa' ? ['-b', '2048'] : [])])
      fingerprints[type] = execFileSync('ssh-keygen', ['-lf', `${path}.pub`], { encoding: 'utf8' }).split(' ')[1] ?? ''
    }
  }
  const start = async (): Promise<void> => {
    const begin = log.length
    const started = spawn(SSHD, ['-D', '-e', '-f', join(directory, 'sshd_config')], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    child = started
    await new Promise<void>((resolve, reject) => {
      started.once('error', reject)
      started.once('exit', () => reject(new Error(`sshd ended: ${log}`)))
      started.stderr?.on('data', (chunk: Buffer) => {
        log += chunk.toString()
        if (log.slice(begin).includes('Server listening')) resolve()
      })
    })
  }
  const stop = async (): Promise<void> => {
    const running = child
    child = undefined
    if (running === undefined || running.exitCode !== null) return
    const ended = new Promise((resolve) => running.once('exit', resolve))
    running.kill()
    await ended
  }
  try {
    // Root's server needs the system's empty directory.
    if (process.getuid?.() === 0) mkdirSync('/run/sshd', { recursive: true, mode: 0o755 })
    makeHostKeys()
    writeFileSync(authorizedKeysFile, '', { mode: 0o600 })
    writeFileSync(
      join(directory, 'sshd_config'),
      [
        options.config ?? '',
        `Port ${port}`,
        'ListenAddress 127.0.0.1',
        ...types.map((type) => `HostKey ${join(directory, `host_${type}`)}`),
        `AuthorizedKeysFile ${authorizedKeysFile}`,
        'PidFile none',
        'StrictModes no',
        'UsePAM no',
        'PermitRootLogin yes',
        'PasswordAuthentication no',
        'KbdInteractiveAuthentication no',
        '',
      ].join('\n'),
    )
    await start()
  } catch (error) {
    await stop()
    rmSync(directory, { recursive: true, force: true })
    throw error
  }
  return {
    port,
    directory,
    authorizedKeysFile,
    fingerprints,
    log: () => log,
    async renewHostKeys() {
      await stop()
      makeHostKeys()
      await start()
    },
    async [Symbol.asyncDispose]() {
      await stop()
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

/** The public line of a key file. */
export function publicLine(privateKeyPath: string): string {
  return readFileSync(`${privateKeyPath}.pub`, 'utf8')
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}
