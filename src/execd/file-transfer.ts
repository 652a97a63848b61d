import { AnyplaceError } from '../spec/index.ts'
import type { CallOptions } from '../spec/index.ts'
import { assertNoNul } from '../kit/text-bytes.ts'
import { call } from './call.ts'
import type { DaemonConnection } from './connection.ts'
import type { InboundStream } from './inbound-stream.ts'
import type { OutboundStream } from './outbound-stream.ts'
import type { FilesRequest } from './protocol.ts'

type Without<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never
/** One kind of file work, without the ids that the transfer gives out. */
export type FilesAction = Without<FilesRequest, 'op' | 'input' | 'output'>

/** One piece of file work under way. */
export interface FileTransfer<T> {
  /** Settles when the work is done or given up. Never left unhandled. */
  readonly response: Promise<T>
  readonly input: OutboundStream
  readonly output: InboundStream
  /** Gives it up: the daemon undoes what it can. The response then rejects with this error. Idempotent. */
  cancel(error: AnyplaceError): void
}

export interface TransferOptions<T> extends CallOptions {
  readonly hasInput?: boolean | undefined
  readonly hasOutput?: boolean | undefined
  readonly maxBytes?: number | undefined
  readonly check: (value: unknown) => T
}

/** Starts file work. Its streams are let go when the response comes, also after it was given up. */
export function startTransfer<T>(
  connection: DaemonConnection,
  action: FilesAction,
  options: TransferOptions<T>,
): FileTransfer<T> {
  assertNoNul(action.path, 'path')
  if (action.path === '') throw new AnyplaceError('invalid-argument', 'The path is empty.', { field: 'path' })
  const what = `${action.action} of ${JSON.stringify(action.path)}`
  const requestId = connection.nextId()
  const input = connection.outbound(`the input of ${what}`)
  const output = connection.inbound({ label: `the output of ${what}`, started: true, completedByResponse: true })
  if (options.hasInput !== true) connection.retire(input.id)
  if (options.hasOutput !== true) connection.retire(output.id)
  const settle = (error: AnyplaceError | undefined): void => {
    if (error === undefined && options.hasOutput === true) output.complete()
    connection.retire(input.id, output.id)
    if (error !== undefined) output.fail(error)
    input.close(error ?? new AnyplaceError('cancelled', `The ${what} is done and takes no more.`))
  }
  let giveUp!: (error: AnyplaceError) => void
  const givenUp = new Promise<never>((_resolve, reject) => (giveUp = reject))
  givenUp.catch(() => undefined)
  let isSettled = false
  const request = {
    op: 'files',
    input: options.hasInput === true ? input.id : 0,
    output: options.hasOutput === true ? output.id : 0,
    ...action,
  } as FilesRequest
  const cancel = (error: AnyplaceError): void => {
    if (isSettled) return
    isSettled = true
    connection.notify({ op: 'cancel', request: requestId })
    input.close(error)
    output.fail(error)
    // What is on its way is swallowed until the daemon answers.
    output.discard()
    giveUp(error)
  }
  const answer = call(
    connection,
    request,
    (value) => {
      const result = options.check(value)
      if (!isSettled) settle(undefined)
      else connection.retire(input.id, output.id)
      isSettled = true
      return result
    },
    {
      requestId,
      maxBytes: options.maxBytes,
      onFail(error) {
        if (!isSettled) settle(error)
        else connection.retire(input.id, output.id)
        isSettled = true
      },
    },
  )
  answer.catch(() => undefined)
  const response = Promise.race([answer, givenUp])
  response.catch(() => undefined)
  return { response, input, output, cancel }
}

/**
 * Carries a source to the input. Stops at once when the work ends early, also while the source is waiting.
 * What the source throws cancels the work, so that nothing half is kept.
 *
 * @param release gets what the source gave when it may be changed again; without it the bytes are copied
 */
export async function feed<T>(
  transfer: FileTransfer<T>,
  source: AsyncIterable<Uint8Array>,
  release?: (bytes: Uint8Array) => void,
): Promise<T> {
  const { input } = transfer
  const iterator = source[Symbol.asyncIterator]()
  const closed = Symbol('closed')
  try {
    for (;;) {
      const step = await new Promise<IteratorResult<Uint8Array> | typeof closed>((resolve, reject) => {
        input.onClose = () => resolve(closed)
        if (input.closedBy !== undefined) return resolve(closed)
        iterator.next().then(resolve, reject)
      })
      if (step === closed) break
      if (step.done === true) {
        input.end()
        return await transfer.response
      }
      if (!(step.value instanceof Uint8Array)) {
        throw new AnyplaceError('invalid-argument', `Content must come as bytes (got ${typeof step.value}).`, {
          field: 'content',
        })
      }
      await input.write(step.value, release)
    }
  } catch (error) {
    if (input.closedBy === undefined) {
      const failure = AnyplaceError.is(error)
        ? error
        : new AnyplaceError('cancelled', 'The source of the content failed.', { cause: error })
      transfer.cancel(failure)
      closeSource(iterator)
      throw error
    }
  }
  // The far end wants no more: its response says why.
  closeSource(iterator)
  return await transfer.response
}

/** Not awaited: a generator answers only after its present step. */
function closeSource(iterator: AsyncIterator<Uint8Array>): void {
  try {
    void iterator.return?.()?.catch(() => undefined)
  } catch {
    // A source that cannot even be closed is done with.
  }
}

/** The bytes of an inbound stream, as they come; ends when it is complete, throws when it failed. */
export async function* chunksOf(stream: InboundStream): AsyncGenerator<Uint8Array, void, undefined> {
  let wake: (() => void) | undefined
  stream.onChange = () => wake?.()
  for (;;) {
    const bytes = stream.shift(Infinity)
    if (bytes !== undefined) {
      yield bytes
    } else if (stream.error !== undefined) {
      throw stream.error
    } else if (stream.isComplete) {
      return
    } else {
      await new Promise<void>((resolve) => (wake = resolve))
    }
  }
}
