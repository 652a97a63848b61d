import { inspect } from 'node:util'
import { expect, test } from 'vitest'
import { AnyplaceError, CommandError } from '../spec/index.ts'
import { Redactor } from './redactor.ts'

const SECRET = 'tok"en\nsecond line of it'
const redactor = new Redactor({ TOKEN: SECRET, SHORT: 'tok', EMPTY: '' })

function everywhere(error: unknown): string {
  return [
    inspect(error, { depth: 8, showHidden: true }),
    JSON.stringify(error),
    String(error),
    (error as Error).stack,
  ].join()
}

function expectClean(text: string): void {
  for (const part of [
    SECRET,
    'second line',
    JSON.stringify(SECRET).slice(1, -1),
    Buffer.from(SECRET).toString('base64'),
  ]) {
    expect(text).not.toContain(part)
  }
}

test('text: raw, as JSON, as base64, and line by line; the longest match first', () => {
  expect(redactor.text(`a ${SECRET} b`)).toBe('a *** b')
  expectClean(redactor.text(JSON.stringify({ SECRET })))
  expectClean(redactor.text(Buffer.from(SECRET).toString('base64')))
  expectClean(redactor.text('only the second line of it'))
  expect(new Redactor({}).text('as it is')).toBe('as it is')
})

test('an error is cleaned in message, stack, hint, data and causes, and keeps its class and code', () => {
  const error = new AnyplaceError('internal', `failed with ${SECRET}`, {
    hint: `do not use ${SECRET}`,
    data: { path: `/x/${SECRET}`, count: 3 },
    cause: new Error(`inner ${SECRET}`, { cause: new TypeError(`innermost ${SECRET}`) }),
  })
  expectClean(everywhere(redactor.error(error)))
  expect(error).toMatchObject({ code: 'internal', message: 'failed with ***', data: { count: 3 } })
  expect(AnyplaceError.is(error, 'internal')).toBe(true)
})

test('a CommandError is cleaned in argv and in its result, bytes too', () => {
  const bytes = new TextEncoder().encode(`x ${SECRET} y`)
  const text = new TextDecoder().decode(bytes)
  const error = redactor.error(
    new CommandError(['curl', SECRET], {
      exitCode: 1,
      signal: null,
      timedOut: false,
      oomKilled: false,
      durationMs: 1,
      stdout: text,
      stderr: text,
      stdoutBytes: bytes,
      stderrBytes: bytes,
      truncated: false,
      processId: 'p',
    }),
  )
  expectClean(everywhere(error))
  expect(Buffer.from(error.result.stdoutBytes).toString()).toBe('x *** y')
  expect(error.result.exitCode).toBe(1)
})

test('a cause that is its own ancestor ends', () => {
  const error = new Error(SECRET)
  error.cause = error
  expect(redactor.error(error).message).toBe('***')
})
