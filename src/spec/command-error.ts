import { AnyplaceError } from './errors.ts'
import type { RunResult } from './process.ts'

/** A command of `run(…, { check: true })` that did not end with 0. Carries the same fields as the result. */
export class CommandError extends AnyplaceError {
  readonly argv: readonly string[]
  readonly result: RunResult

  constructor(argv: readonly string[], result: RunResult) {
    const why = result.timedOut
      ? 'timed out'
      : result.oomKilled
        ? 'was killed for lack of memory'
        : result.signal
          ? `was ended by ${result.signal}`
          : `exited with ${result.exitCode}`
    const tail = result.stderr.trimEnd().slice(-500)
    super('command-failed', `Command ${JSON.stringify(argv[0] ?? '')} ${why}${tail ? `: ${tail}` : ''}`, {
      data: { exitCode: result.exitCode },
    })
    this.argv = argv
    this.result = result
  }
}
