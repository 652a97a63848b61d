/**
 * One closed table of failures. A door (CLI, REST, MCP) derives its exit code, HTTP status and text from `code` and
 * from nothing else; the pin test freezes the table.
 */
export const ERROR_CODES = {
  // the request
  'invalid-argument': { httpStatus: 400, retryable: false },
  unsupported: { httpStatus: 422, retryable: false },
  'already-exists': { httpStatus: 409, retryable: false },
  conflict: { httpStatus: 409, retryable: false },
  'not-found': { httpStatus: 404, retryable: false },
  'permission-denied': { httpStatus: 403, retryable: false },
  // the place
  'engine-unavailable': { httpStatus: 503, retryable: true },
  'image-not-found': { httpStatus: 404, retryable: false },
  'sandbox-not-found': { httpStatus: 404, retryable: false },
  'sandbox-gone': { httpStatus: 410, retryable: false },
  'connection-lost': { httpStatus: 502, retryable: true },
  'resource-exhausted': { httpStatus: 429, retryable: true },
  'no-exec-daemon': { httpStatus: 502, retryable: false },
  // processes and output
  'process-not-found': { httpStatus: 404, retryable: false },
  'command-not-found': { httpStatus: 422, retryable: false },
  'command-not-executable': { httpStatus: 422, retryable: false },
  'command-failed': { httpStatus: 422, retryable: false },
  'output-discarded': { httpStatus: 410, retryable: false },
  // files
  'file-not-found': { httpStatus: 404, retryable: false },
  'file-exists': { httpStatus: 409, retryable: false },
  'not-a-directory': { httpStatus: 422, retryable: false },
  'is-a-directory': { httpStatus: 422, retryable: false },
  'no-space': { httpStatus: 507, retryable: false },
  'unsafe-archive': { httpStatus: 422, retryable: false },
  // time
  timeout: { httpStatus: 504, retryable: true },
  cancelled: { httpStatus: 499, retryable: false },
  // secrets at rest
  'vault-locked': { httpStatus: 401, retryable: false },
  // the far side or we ourselves broke the rules
  'protocol-error': { httpStatus: 502, retryable: false },
  internal: { httpStatus: 500, retryable: false },
} as const satisfies Record<string, { readonly httpStatus: number; readonly retryable: boolean }>

/** What kind of failure this is. Closed: doors may switch over it exhaustively. */
export type ErrorCode = keyof typeof ERROR_CODES

/** What an {@link AnyplaceError} is made of, beside its code and message. */
export interface ErrorDetails {
  /** The next step for the person who reads the message; one line, no full stop needed. */
  readonly hint?: string | undefined
  /** Overrides the table's answer to "could the same call succeed later?". */
  readonly retryable?: boolean | undefined
  readonly cause?: unknown
  /** The option or field that is at fault, in the caller's own spelling. */
  readonly field?: string | undefined
  /** Numbers and names a program may want: `firstOffset`, `limitMs`, `path` … Never a secret. */
  readonly data?: Readonly<Record<string, string | number | boolean>> | undefined
}

const MARK = Symbol.for('anyplace.error')

/**
 * Every failure that Anyplace reports. The message says what failed, which one and the value; `hint` says what to do.
 *
 * Check with {@link AnyplaceError.is}, not `instanceof`: it also holds across two copies of the package.
 */
export class AnyplaceError extends Error {
  readonly code: ErrorCode
  readonly hint: string | undefined
  readonly retryable: boolean
  readonly field: string | undefined
  readonly data: Readonly<Record<string, string | number | boolean>> | undefined
  readonly [MARK] = true

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.name = new.target.name
    this.code = code
    this.hint = details.hint
    this.retryable = details.retryable ?? ERROR_CODES[code].retryable
    this.field = details.field
    this.data = details.data
  }

  /** True for an AnyplaceError of any copy of this package; with `code`, only for that code. */
  static is(value: unknown, code?: ErrorCode): value is AnyplaceError {
    return (
      typeof value === 'object' &&
      value !== null &&
      (value as Record<symbol, unknown>)[MARK] === true &&
      (code === undefined || (value as AnyplaceError).code === code)
    )
  }

  /** The form that `--json`, REST and MCP print. */
  toJSON(): { code: ErrorCode; message: string; hint?: string; field?: string; retryable: boolean; data?: object } {
    return {
      code: this.code,
      message: this.message,
      ...(this.hint === undefined ? {} : { hint: this.hint }),
      ...(this.field === undefined ? {} : { field: this.field }),
      retryable: this.retryable,
      ...(this.data === undefined ? {} : { data: this.data }),
    }
  }
}

/** A field that this provider or engine cannot enforce. Carries the field and an engine that can, when there is one. */
export function unsupportedField(
  field: string,
  value: unknown,
  where: string,
  why: string,
  hint?: string,
): AnyplaceError {
  return new AnyplaceError('unsupported', `${where} cannot enforce ${field} (got ${JSON.stringify(value)}): ${why}`, {
    field,
    hint,
  })
}
