import { parseRecord } from '../../engines/sandbox-directory/record.ts'
import type { SandboxRecord } from '../../engines/sandbox-directory/record.ts'
import { collectBytes } from '../../kit/collect.ts'
import { packageText } from '../../kit/package-text.ts'
import { quoteShell } from '../../kit/quote.ts'
import { utf8Lossy } from '../../kit/text-bytes.ts'
import { AnyplaceError } from '../../spec/index.ts'
import type { CallOptions } from '../../spec/index.ts'
import type { HostLink } from './host-link.ts'
import { place } from './ssh-failure.ts'

const ID = /^[a-z0-9]{12,64}$/
const MAX_ANSWER_BYTES = 16 * 1024 * 1024

/** The link that works now. */
export type Linked = () => Promise<HostLink>

/** The text of plain-sandbox.sh. */
export function plainScript(): Promise<string> {
  return packageText(new URL('./plain-sandbox.sh', import.meta.url))
}

/** Ends what runs of the sandbox and removes all of it. Idempotent. */
export async function removePlain(linked: Linked, id: string, options: CallOptions = {}): Promise<void> {
  if (!ID.test(id)) return
  const { facts } = await linked()
  await askPlain(linked, 'remove', { state: facts.stateDirectory, id }, options)
}

/** Every record of the engine's sandboxes on the host, running or not. */
export async function* plainRecords(
  linked: Linked,
  engine: string,
  options: CallOptions = {},
): AsyncIterable<SandboxRecord> {
  const { facts } = await linked()
  for (const text of await askPlain(linked, 'list', { state: facts.stateDirectory }, options)) {
    try {
      const record = parseRecord(Buffer.from(text), `${facts.stateDirectory}/sandboxes`)
      if (record.engine === engine && ID.test(record.id)) yield record
    } catch (error) {
      // One that cannot be read does not hide the others.
      if (!AnyplaceError.is(error, 'internal')) throw error
    }
  }
}

/** Runs one verb of plain-sandbox.sh and gives the fields that it says. Its words travel on stdin, never in argv. */
export async function askPlain(
  linked: Linked,
  verb: 'make' | 'remove' | 'list',
  words: Readonly<Record<string, string>>,
  options: CallOptions = {},
): Promise<readonly string[]> {
  const text = await plainScript()
  const { sessions, target } = await linked()
  await using channel = await sessions.run(['/bin/sh', '-s'], options)
  channel.stdin.on('error', () => undefined) // the exit code says why it did not read
  channel.stdin.end(`${assignments(words)}${text}\n${verb}\n`)
  const [output, errors, exit] = await Promise.all([
    collectBytes(channel.stdout, { maxBytes: MAX_ANSWER_BYTES }),
    collectBytes(channel.stderr, { maxBytes: MAX_ANSWER_BYTES }),
    channel.exit,
  ])
  if (exit.exitCode !== 0) {
    const said = utf8Lossy(errors).trim().split('\n').at(-1) ?? ''
    const code = /Permission denied|not permitted|Read-only/.test(said)
      ? 'permission-denied'
      : /No space|quota/.test(said)
        ? 'no-space'
        : 'internal'
    throw new AnyplaceError(
      code,
      `Keeping sandboxes on ${place(target, undefined)} failed: ${said || `exit code ${exit.exitCode}`}`,
    )
  }
  return utf8Lossy(output).split('\0').slice(0, -1)
}

/** Variables for sh, set in front of a script. */
export function assignments(words: Readonly<Record<string, string>>): string {
  return Object.entries(words)
    .map(([name, value]) => `${name}=${quoteShell(value)}\n`)
    .join('')
}
