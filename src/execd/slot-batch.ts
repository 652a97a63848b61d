import { AnyplaceError } from '../spec/index.ts'
import type { Argv, BatchOptions, SlotCommand, SlotResult } from '../spec/index.ts'
import { abortError, throwIfAborted } from '../kit/deadline.ts'
import { assertNoNul, bytesToText } from '../kit/text-bytes.ts'
import { call } from './call.ts'
import type { DaemonConnection } from './connection.ts'
import { MAX_CONTROL_BYTES } from './protocol.ts'
import type { WireSlotCommand } from './protocol.ts'
import { SlotRecords } from './slot-records.ts'

const KEPT_OUTPUT_BYTES = 1_048_576
/** What the daemon keeps at most. */
const MOST_OUTPUT_BYTES = 64 * 1024 * 1024
/** Two messages may stand in one buffer at the daemon, and JSON grows what it escapes. */
const MOST_REQUEST_BYTES: number = MAX_CONTROL_BYTES - 64 * 1024

/** Runs many commands as one request. See Slots.batch. */
export async function runBatch(
  connection: DaemonConnection,
  commands: readonly SlotCommand[],
  options: BatchOptions,
): Promise<readonly SlotResult[]> {
  const { env, signal, timeoutMs, onResult } = options
  throwIfAborted(signal)
  checkTimeout(timeoutMs, 'timeoutMs')
  if (commands.length === 0) return []
  const wire = commands.map(wireCommand)
  let failure: { readonly error: unknown } | undefined
  let stop = (): void => undefined
  const records = new SlotRecords(
    commands.map((command, index) => ({ ...command, maxOutputBytes: wire[index]!.maxOutputBytes })),
    (index, result) => {
      if (onResult === undefined || failure !== undefined) return
      try {
        onResult(index, result)
      } catch (error) {
        failure = { error }
        stop()
      }
    },
  )
  const requestId = connection.nextId()
  const output = connection.inbound({ label: 'the results of a batch', started: true, completedByResponse: true })
  const request = {
    op: 'slots',
    action: 'batch',
    output: output.id,
    commands: wire,
    ...(env === undefined ? {} : { env }),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
  } as const
  if (Buffer.byteLength(JSON.stringify(request)) > MOST_REQUEST_BYTES) {
    connection.retire(output.id)
    throw new AnyplaceError('invalid-argument', `A batch of ${commands.length} commands is too long for one message.`, {
      field: 'commands',
      hint: `split it: commands and their input may have ${MOST_REQUEST_BYTES} bytes together`,
    })
  }
  output.pipeTo((bytes) => records.push(bytes))
  return await new Promise<readonly SlotResult[]>((resolve, reject) => {
    const end = (error: unknown): void => {
      signal?.removeEventListener('abort', onAbort)
      connection.notify({ op: 'cancel', request: requestId })
      // What is on its way is swallowed until the daemon answers.
      output.discard()
      reject(error instanceof Error ? error : new Error(String(error)))
    }
    const onAbort = (): void => {
      if (signal !== undefined) end(abortError(signal))
    }
    stop = () => end(failure?.error)
    signal?.addEventListener('abort', onAbort, { once: true })
    call(connection, request, () => (output.error === undefined ? records : undefined), {
      requestId,
      onFail(error) {
        output.fail(error)
      },
    })
      .then(
        (received) => {
          output.complete()
          if (received !== undefined) resolve(received.done())
        },
        (error: unknown) => reject(error),
      )
      .catch((error: unknown) => {
        if (AnyplaceError.is(error)) connection.fail(error)
        reject(error)
      })
      .finally(() => {
        signal?.removeEventListener('abort', onAbort)
        connection.retire(output.id)
      })
  })
}

function wireCommand(command: SlotCommand, index: number): WireSlotCommand {
  const { slot, argv, cwd, env, input, timeoutMs } = command
  const where = `commands[${index}]`
  const maxOutputBytes = command.maxOutputBytes ?? KEPT_OUTPUT_BYTES
  checkSlotName(slot, `${where}.slot`)
  checkArgv(argv, `${where}.argv`)
  checkTimeout(timeoutMs, `${where}.timeoutMs`)
  if (!Number.isSafeInteger(maxOutputBytes) || maxOutputBytes < 0 || maxOutputBytes > MOST_OUTPUT_BYTES) {
    throw invalid(`${where}.maxOutputBytes`, `must be from 0 to ${MOST_OUTPUT_BYTES} (got ${maxOutputBytes})`)
  }
  return {
    slot,
    argv,
    maxOutputBytes,
    ...(cwd === undefined ? {} : { cwd }),
    ...(env === undefined ? {} : { env }),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    ...(input === undefined ? {} : { input: typeof input === 'string' ? input : bytesToText(input) }),
  }
}

/** @throws AnyplaceError `invalid-argument` */
export function checkSlotName(name: unknown, field: string): void {
  if (typeof name !== 'string' || !/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(name)) {
    throw invalid(field, `must be of a-z, 0-9 and inner hyphens, 63 at most (got ${JSON.stringify(name)})`)
  }
}

function checkArgv(argv: Argv, field: string): void {
  if (!Array.isArray(argv) || argv.length === 0 || argv[0] === '') {
    throw invalid(field, 'must be a list that begins with a program')
  }
  for (const word of argv) {
    if (typeof word !== 'string') throw invalid(field, `must hold texts only (got ${typeof word})`)
    assertNoNul(word, field)
  }
}

function checkTimeout(value: number | undefined, field: string): void {
  if (value !== undefined && !(value > 0 && value < Infinity)) throw invalid(field, `must be above 0 (got ${value})`)
}

function invalid(field: string, fault: string): AnyplaceError {
  return new AnyplaceError('invalid-argument', `${field} ${fault}.`, { field })
}
