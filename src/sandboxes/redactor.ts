import { AnyplaceError, CommandError } from '../spec/index.ts'
import type { RunResult } from '../spec/index.ts'

const MASK = '***'
const MAX_CAUSES = 8

/** Takes secret values out of everything that may be shown. Made once per sandbox from the values that were given. */
export class Redactor {
  readonly #needles: readonly string[]

  constructor(secrets: Readonly<Record<string, string>>) {
    const needles = new Set<string>()
    for (const value of Object.values(secrets)) {
      if (value === '') continue
      needles.add(value)
      // Messages quote values as JSON, and a printed multi-line secret is seen line by line.
      needles.add(JSON.stringify(value).slice(1, -1))
      needles.add(Buffer.from(value, 'utf8').toString('base64'))
      for (const line of value.split(/\r?\n/)) if (line.trim().length >= 8) needles.add(line)
    }
    // The longest first, or a secret that contains another one would be left in pieces.
    this.#needles = [...needles].sort((a, b) => b.length - a.length)
  }

  /** The text with every secret replaced by `***`. */
  text(text: string): string {
    let shown = text
    for (const needle of this.#needles) shown = shown.replaceAll(needle, MASK)
    return shown
  }

  /** The same error, cleaned in place (message, stack, hint, data, causes, and a command's argv and output). */
  error<T>(error: T): T {
    if (this.#needles.length === 0) return error
    let current: unknown = error
    for (let depth = 0; depth < MAX_CAUSES && current instanceof Error; depth++) {
      this.#cleanOne(current)
      current = current.cause
    }
    return error
  }

  #cleanOne(error: Error): void {
    replace(error, 'message', this.text(error.message))
    if (error.stack !== undefined) replace(error, 'stack', this.text(error.stack))
    for (const [key, value] of Object.entries(error)) {
      if (typeof value === 'string' && key !== 'code') replace(error, key, this.text(value))
    }
    if (typeof error.cause === 'string') replace(error, 'cause', this.text(error.cause))
    if (AnyplaceError.is(error) && error.data !== undefined) {
      const data = Object.entries(error.data).map(([k, v]) => [k, typeof v === 'string' ? this.text(v) : v] as const)
      replace(error, 'data', Object.fromEntries(data))
    }
    if (error instanceof CommandError) {
      replace(
        error,
        'argv',
        error.argv.map((word) => this.text(word)),
      )
      replace(error, 'result', this.#result(error.result))
    }
  }

  #result(result: RunResult): RunResult {
    return {
      ...result,
      stdout: this.text(result.stdout),
      stderr: this.text(result.stderr),
      stdoutBytes: this.#bytes(result.stdoutBytes),
      stderrBytes: this.#bytes(result.stderrBytes),
    }
  }

  #bytes(bytes: Uint8Array): Uint8Array {
    const before = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
    let after = before
    for (const needle of this.#needles) after = after.replaceAll(Buffer.from(needle, 'utf8').toString('latin1'), MASK)
    return after === before ? bytes : new Uint8Array(Buffer.from(after, 'latin1'))
  }
}

function replace(target: object, key: string, value: unknown): void {
  const known = Object.getOwnPropertyDescriptor(target, key)
  if (known?.configurable === false && known.writable !== true) return
  Object.defineProperty(target, key, {
    value,
    enumerable: known?.enumerable ?? false,
    configurable: true,
    writable: true,
  })
}
