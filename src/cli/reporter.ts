import pico from 'picocolors'
import { AnyplaceError } from '../spec/errors.ts'
import type { CliIo } from './cli-io.ts'
import { writeAll } from './cli-io.ts'
import { printable, printableLine } from './printable.ts'

/** Prints for people or, with --json, for programs. The one place that decides which. */
export class Reporter {
  readonly json: boolean
  readonly #io: CliIo
  readonly #colors: ReturnType<typeof pico.createColors>
  readonly #showsProgress: boolean
  #hasProgress = false

  constructor(io: CliIo, json: boolean) {
    this.json = json
    this.#io = io
    const isTerminal = io.stderr.isTTY === true && io.env['TERM'] !== 'dumb'
    this.#showsProgress = isTerminal
    this.#colors = pico.createColors(isTerminal && !io.env['NO_COLOR'])
  }

  /** The outcome: one JSON object, or text that ends with a line feed. */
  async result(data: object, text: string): Promise<void> {
    this.clearProgress()
    await writeAll(this.#io.stdout, this.json ? `${JSON.stringify({ source: 'anyplace', ...data })}\n` : text)
  }

  /** One JSON object a line, for what goes on for a while. */
  async event(data: object): Promise<void> {
    await writeAll(this.#io.stdout, `${JSON.stringify(data)}\n`)
  }

  /** A remark on stderr for people; programs have it in the JSON. */
  note(text: string): void {
    if (this.json) return
    this.clearProgress()
    this.#io.stderr.write(`anyplace: ${printable(text)}\n`)
  }

  /** Replaces the progress line. Nothing where stderr is not a terminal. */
  progress(text: string): void {
    if (!this.#showsProgress) return
    const width = Math.max(20, (this.#io.stderr.columns ?? 80) - 1)
    this.#hasProgress = true
    this.#io.stderr.write(`\r\u001B[K${this.#colors.dim(printableLine(text).slice(0, width))}`)
  }

  clearProgress(): void {
    if (!this.#hasProgress) return
    this.#hasProgress = false
    this.#io.stderr.write('\r\u001B[K')
  }

  /** A failure of our own: on stderr for people, on stdout as `{ source, error }` for programs. */
  async failure(error: AnyplaceError): Promise<void> {
    this.clearProgress()
    if (this.json) {
      await writeAll(this.#io.stdout, `${JSON.stringify({ source: 'anyplace', error: errorFields(error) })}\n`)
      return
    }
    const { bold, red, dim } = this.#colors
    const hint = error.hint === undefined ? '' : `${dim('  hint:')} ${printable(error.hint)}\n`
    const text = `${bold('anyplace:')} ${red(error.code)}: ${printable(error.message)}\n${hint}`
    await writeAll(this.#io.stderr, text).catch(() => undefined)
  }
}

/** The error as programs get it, always with a hint field. */
export function errorFields(error: AnyplaceError): object {
  const { code, message, hint, retryable, field, data } = error
  return {
    code,
    message,
    hint: hint ?? null,
    retryable,
    ...(field === undefined ? {} : { field }),
    ...(data === undefined ? {} : { data }),
  }
}

/** Any thrown value as an error of the table; what is not one of ours is a fault in Anyplace. */
export function asAnyplaceError(error: unknown): AnyplaceError {
  if (AnyplaceError.is(error)) return error
  const message = error instanceof Error ? error.message : String(error)
  return new AnyplaceError('internal', message, {
    cause: error,
    hint: 'this is a fault in anyplace; set ANYPLACE_DEBUG=1 to see where it comes from, and report it',
  })
}
