import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'

/** The parts of an AnyplaceError that tests look at. */
export interface Failure extends Error {
  readonly code: string
  readonly field?: string
  readonly hint?: string
  readonly data?: Readonly<Record<string, string | number | boolean>>
}

/** The call must reject with one of these codes, and with an error of ours; gives the error. */
export async function failsWith(call: Promise<unknown>, ...codes: readonly string[]): Promise<Failure> {
  let value: unknown
  try {
    value = await call
  } catch (error) {
    const failure = error as Failure
    assert.equal(
      (error as Record<symbol, unknown>)[Symbol.for('anyplace.error')],
      true,
      `not an AnyplaceError: ${String(error)}`,
    )
    assert.ok(codes.includes(failure.code), `expected ${codes.join(' or ')}, got ${failure.code}: ${failure.message}`)
    return failure
  }
  if (typeof value === 'object' && value !== null && 'close' in value)
    await (value as { close(): Promise<void> }).close()
  throw new assert.AssertionError({ message: `expected ${codes.join(' or ')}, but the call succeeded` })
}

/** Waits until `condition` holds; fails after `limitMs` with what did not happen. Waits for a fact, never for a time. */
export async function eventually(what: string, condition: () => Promise<boolean>, limitMs = 15_000): Promise<void> {
  const end = Date.now() + limitMs
  for (;;) {
    if (await condition()) return
    if (Date.now() > end) throw new assert.AssertionError({ message: `${what}: not within ${limitMs} ms` })
    await sleep(50)
  }
}

/** All bytes of a stream. */
export async function drain(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of stream) chunks.push(chunk)
  return Buffer.concat(chunks)
}
