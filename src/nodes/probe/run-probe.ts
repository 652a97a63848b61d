import { randomBytes } from 'node:crypto'
import process from 'node:process'
import { abortError, deadlineSignal, throwIfAborted, untilAborted } from '../../kit/deadline.ts'
import { utf8Lossy } from '../../kit/text-bytes.ts'
import { AnyplaceError } from '../../spec/index.ts'
import type { CallOptions, Channel, Machine } from '../../spec/index.ts'
import { parseProbe } from './parse-probe.ts'
import type { ProbeReport } from './probe-report.ts'
import { PROBE_SCRIPT } from './probe-script.ts'

/** A report is some 10 KiB; a machine that sends more than this is not read any further. */
const MAX_OUTPUT_BYTES = 1024 * 1024
const DEFAULT_TIMEOUT_MS = 30_000
const PLAIN_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** How a machine is asked. */
export interface MachineProbeOptions extends CallOptions {
  /** The directory whose disk is meant; `~` and relative paths start at the home directory. @default where sandboxes keep their state */
  readonly workspace?: string | undefined
  /** For the whole of it. What came until then is reported, with a line in `problems`. @default 30_000 */
  readonly timeoutMs?: number | undefined
  /** What any one tool of the machine may take, seconds. @default 5 to 10, by tool */
  readonly toolSeconds?: number | undefined
}

/**
 * Asks a machine what it is: one script over one channel, one round trip.
 *
 * @throws AnyplaceError `timeout` when nothing came in time, `protocol-error` when what came is no answer,
 *   `connection-lost`, `command-not-found` (no POSIX shell), `cancelled`
 */
export async function runProbe(
  node: string,
  machine: Machine,
  options: MachineProbeOptions = {},
): Promise<ProbeReport> {
  const { signal, toolSeconds, timeoutMs = DEFAULT_TIMEOUT_MS } = options
  throwIfAborted(signal)
  const facts = await machine.facts({ signal })
  const mark = randomBytes(8).toString('hex')
  const words = [mark, options.workspace ?? facts.stateDirectory, toolSeconds === undefined ? '' : String(toolSeconds)]
  const env = {
    PATH: (machine.isLocal ? process.env['PATH'] : undefined) ?? PLAIN_PATH,
    HOME: facts.homeDirectory,
    ...facts.engineEnv,
  }
  const deadline = deadlineSignal(timeoutMs, signal)
  const startedAt = performance.now()
  const channel = await machine.run(['sh', '-c', PROBE_SCRIPT, 'anyplace-probe', ...words], { env, signal: deadline })
  try {
    const { text, firstAt, isCut } = await untilEnd(channel, deadline)
    if (signal?.aborted) throw abortError(signal)
    if (!text.includes(`@${mark} hello`)) throw noAnswer(node, text, deadline.aborted, timeoutMs)
    const report = parseProbe(node, text, mark, {
      roundTripMs: tenths((firstAt ?? performance.now()) - startedAt),
      durationMs: tenths(performance.now() - startedAt),
    })
    const problems = [...report.problems, ...(isCut ? [`the answer was longer than ${MAX_OUTPUT_BYTES} bytes`] : [])]
    return { ...report, problems }
  } finally {
    await channel.close()
  }
}

async function untilEnd(
  channel: Channel,
  deadline: AbortSignal,
): Promise<{ readonly text: string; readonly firstAt: number | undefined; readonly isCut: boolean }> {
  const chunks: Uint8Array[] = []
  let length = 0
  let firstAt: number | undefined
  channel.stdin.end()
  channel.stderr.resume()
  const read = (async () => {
    for await (const chunk of channel.stdout as AsyncIterable<Uint8Array>) {
      firstAt ??= performance.now()
      length += chunk.byteLength
      if (length > MAX_OUTPUT_BYTES) return
      chunks.push(chunk)
    }
  })()
  try {
    await untilAborted(read, deadline)
  } catch (error) {
    // The deadline ends the reading; what came by then is still worth something.
    if (!deadline.aborted) throw error
  }
  return { text: utf8Lossy(Buffer.concat(chunks)), firstAt, isCut: length > MAX_OUTPUT_BYTES }
}

function noAnswer(node: string, text: string, timedOut: boolean, timeoutMs: number): AnyplaceError {
  if (timedOut)
    return new AnyplaceError('timeout', `Node ${JSON.stringify(node)} did not answer the probe in ${timeoutMs} ms.`)
  const said = text.trim() === '' ? 'nothing' : JSON.stringify(text.trim().slice(0, 200))
  return new AnyplaceError('protocol-error', `Node ${JSON.stringify(node)} did not run the probe; it said ${said}.`, {
    hint: 'the host needs a POSIX shell as `sh`, and a login that runs commands',
  })
}

function tenths(milliseconds: number): number {
  return Math.round(milliseconds * 10) / 10
}
