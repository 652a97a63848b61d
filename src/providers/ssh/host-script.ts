import { createHash } from 'node:crypto'
import { bootstrapInput, connectorArgv } from '../../execd/bootstrap.ts'
import type { DaemonConfig } from '../../execd/bootstrap.ts'
import { packageText } from '../../kit/package-text.ts'
import { quoteShell } from '../../kit/quote.ts'

/** Before this is whatever the login shell prints, after it the facts, each ended by NUL. */
export const MARK = '\u0001anyplace-host\u0001'
/** An unused daemon ends itself after this; a client that is connected says something more often. */
const UNUSED_DAEMON_MS = 120_000
const KEPT_OUTPUT_BYTES = 1024 * 1024
const TEN_YEARS_MS = 10 * 365 * 24 * 3600 * 1000

// Reads exactly that many bytes of Python and runs them: what follows is for the program.
const STAGE =
  'import os\ndef take(n):\n b=bytearray()\n while len(b)<n:\n  c=os.read(0,n-len(b))\n  if not c:os._exit(74)\n  b+=c\n return bytes(b)\n'

/** What is run on a host, and what its stdin begins with. */
export interface HostStart {
  /** The command for the login shell: safe in every shell that knows single quotes. */
  readonly command: string
  readonly input: Uint8Array
}

/**
 * The start of the host's exec daemon over one ssh session: a POSIX script tells the facts of the host, makes the workspace
 * and hands over to Python, all in one round trip.
 *
 * @param workspace as the target has it; resolved on the host
 */
export async function hostStart(workspace: string, wantsDaemon: boolean): Promise<HostStart> {
  const text = await packageText(new URL('./host-script.sh', import.meta.url))
  if (!wantsDaemon) return shellCommand(shell(workspace, text, ''), new Uint8Array())
  const now = Date.now()
  const config: DaemonConfig = {
    sandboxId: 'host',
    runDirectory: `host/${await daemonVersion()}`,
    workdir: '/',
    env: {},
    inheritEnv: false,
    expiresAtMs: now + TEN_YEARS_MS,
    maxExpiresAtMs: now + TEN_YEARS_MS,
    idleTimeoutMs: UNUSED_DAEMON_MS,
    journalBytes: KEPT_OUTPUT_BYTES,
    supervisor: 'self',
    ownPidNamespace: false,
    servesMachine: true,
  }
  const bootstrap = await bootstrapInput(config, { start: true })
  const loader = Buffer.from(connectorArgv(bootstrap.length).at(-2) ?? '')
  const stage = `${STAGE}exec(take(${loader.length}).decode())`
  return shellCommand(
    shell(workspace, text, `-I -S -c ${quoteShell(stage)} ${bootstrap.length}`),
    Buffer.concat([loader, bootstrap]),
  )
}

/** Clients of another version of the daemon start one of their own. */
export async function daemonVersion(): Promise<string> {
  const config = { runDirectory: '', workdir: '/', sandboxId: '', env: {}, inheritEnv: false } as const
  const sources = await bootstrapInput(
    {
      ...config,
      expiresAtMs: 0,
      maxExpiresAtMs: 0,
      journalBytes: 0,
      supervisor: 'self',
      ownPidNamespace: false,
    },
    { start: true },
  )
  return createHash('sha256').update(sources).digest('hex').slice(0, 12)
}

function shell(workspace: string, text: string, pythonArguments: string): string {
  return `workspace=${quoteShell(workspace)}\n${text}\n${pythonArguments === '' ? 'exit 0' : `start ${pythonArguments}`}\n`
}

/**
 * A script for sh, and what its commands read behind it. The login shell gets one short line: only sh reads the script, byte by byte, so that
 * nothing behind it is swallowed.
 */
export function shellCommand(script: string, rest: Uint8Array): HostStart {
  const bytes = Buffer.from(script)
  return {
    command: `exec /bin/sh -c 'eval "$(dd bs=1 count=${bytes.length} 2>/dev/null)"'`,
    input: Buffer.concat([bytes, rest]),
  }
}
