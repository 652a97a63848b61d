import type { Readable } from 'node:stream'
import { openConnection } from '../../execd/open-connection.ts'
import type { DaemonConnection } from '../../execd/connection.ts'
import { printable } from '../../execd/printable.ts'
import { abortError, deadlineSignal } from '../../kit/deadline.ts'
import type { ChildChannel } from '../../kit/child-channel.ts'
import { AnyplaceError } from '../../spec/index.ts'
import type { CallOptions } from '../../spec/index.ts'
import { FIELDS, parseFacts } from './host-facts.ts'
import type { HostFacts } from './host-facts.ts'
import { MARK, hostStart } from './host-script.ts'
import { startSession } from './master.ts'
import type { Master } from './master.ts'
import { place } from './ssh-failure.ts'
import type { SshTarget } from './ssh-target.ts'

const MAX_NOISE_BYTES = 64 * 1024
const MAX_FACTS_BYTES = 1024 * 1024
/** Twice this without a sign of life ends the session; the daemon counts these as use. */
const KEEPALIVE_MS = 15_000

/** A session with a host: its facts, and its daemon where it has Python. */
export interface HostSession {
  readonly facts: HostFacts
  /** Undefined: the host has no Python, so nothing is kept open. */
  readonly daemon: { readonly connection: DaemonConnection; readonly channel: ChildChannel } | undefined
}

/** How a session over a master failed before the host said anything. */
export type MasterFault = 'dead' | 'full'

/** The session could not begin because of the master, not because of the host. */
export class MasterError extends Error {
  readonly fault: MasterFault

  constructor(fault: MasterFault, message: string) {
    super(message)
    this.name = 'MasterError'
    this.fault = fault
  }
}

/**
 * Opens a session over the master: facts, and the host's daemon, in one round trip.
 *
 * @throws MasterError when the master is to blame
 * @throws AnyplaceError `timeout` after `timeoutMs`; `unsupported` for a host without a POSIX shell; what the workspace's
 * fault is; `no-exec-daemon`
 */
export async function openHostSession(
  target: SshTarget,
  master: Master,
  options: CallOptions & { readonly timeoutMs: number },
): Promise<HostSession> {
  const signal = deadlineSignal(options.timeoutMs, options.signal)
  const where = place(target, master.resolved)
  const { command, input } = await hostStart(target.workspace ?? '~/.anyplace', true)
  const channel = await startSession(master, command, { signal })
  const onAbort = (): void => void channel.close()
  signal.addEventListener('abort', onAbort, { once: true })
  let said = ''
  const onError = (chunk: Buffer): void => {
    said = (said + chunk.toString('utf8')).slice(-4000)
  }
  channel.stderr.on('data', onError)
  try {
    channel.stdin.write(input)
    const fields = await readFields(channel.stdout)
    if (fields.kind !== 'facts') {
      if (signal.aborted) throw abortError(signal)
      if (fields.isFlood) throw noShell(where, `it prints more than ${MAX_NOISE_BYTES} bytes before our command begins`)
      const { exitCode } = await channel.exit
      throw noFacts(where, fields.text, said, exitCode)
    }
    const facts = parseFacts(target, where, fields.fields)
    if (facts.python === undefined) {
      await channel.close()
      return { facts, daemon: undefined }
    }
    channel.stderr.off('data', onError)
    const connection = await openConnection(channel, {
      signal,
      handshakeTimeoutMs: options.timeoutMs,
      keepaliveMs: KEEPALIVE_MS,
    })
    return { facts, daemon: { connection, channel } }
  } catch (error) {
    await channel.close()
    if (options.signal?.aborted) throw abortError(options.signal)
    if (signal.aborted)
      throw new AnyplaceError('timeout', `${where} did not start a session within ${options.timeoutMs} ms.`, {
        hint: 'look whether the host is overloaded or its login scripts wait for input',
        data: { cause: 'timeout' },
        cause: error,
      })
    throw error
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

type Fields =
  | { readonly kind: 'facts'; readonly fields: readonly string[] }
  | { readonly kind: 'none'; readonly text: string; readonly isFlood: boolean }

/** Reads up to the last fact; what is behind it stays in the stream. */
async function readFields(stdout: Readable): Promise<Fields> {
  const mark = Buffer.from(MARK)
  let bytes = Buffer.alloc(0)
  return new Promise((resolve) => {
    const settle = (result: Fields, rest?: Buffer): void => {
      stdout.off('readable', look)
      for (const event of ['end', 'error', 'close']) stdout.off(event, onEnd)
      if (rest !== undefined && rest.byteLength > 0) stdout.unshift(rest)
      resolve(result)
    }
    const ended = (isFlood: boolean) => (): void => settle({ kind: 'none', text: bytes.toString('utf8'), isFlood })
    const onEnd = ended(false)
    const look = (): void => {
      for (let chunk = stdout.read() as Buffer | null; chunk !== null; chunk = stdout.read() as Buffer | null) {
        bytes = Buffer.concat([bytes, chunk])
        const begin = bytes.indexOf(mark)
        if ((begin < 0 ? bytes.byteLength : begin) > MAX_NOISE_BYTES) return ended(true)()
        if (begin < 0) continue
        let at = begin + mark.byteLength
        const fields: string[] = []
        while (fields.length < FIELDS) {
          const end = bytes.indexOf(0, at)
          if (end < 0) break
          fields.push(bytes.toString('utf8', at, end))
          at = end + 1
        }
        if (fields.length === FIELDS) return settle({ kind: 'facts', fields }, bytes.subarray(at))
        if (bytes.byteLength > MAX_FACTS_BYTES) return ended(true)()
      }
    }
    stdout.on('readable', look)
    for (const event of ['end', 'error', 'close']) stdout.on(event, onEnd)
    look()
  })
}

function noFacts(where: string, text: string, stderr: string, exitCode: number | null): Error {
  if (/Session open refused by peer|administratively prohibited|open failed/i.test(stderr))
    return new MasterError('full', stderr.trim())
  if (exitCode === 255 || exitCode === null) return new MasterError('dead', stderr.trim())
  const said = printable(`${text}\n${stderr}`.trim(), 300)
  return noShell(where, `it ended with exit code ${exitCode}${said === '' ? '' : `: ${said}`}`)
}

function noShell(where: string, why: string): AnyplaceError {
  return new AnyplaceError('unsupported', `${where} let us in, but its login shell is no POSIX shell (${why}).`, {
    field: 'username',
    hint: 'use an account with a login shell such as /bin/sh, without a forced command and with login scripts that are silent',
    data: { cause: 'no-shell' },
  })
}
