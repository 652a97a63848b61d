import type { ErrorCode } from '../spec/index.ts'

/** Anyplace itself failed, or was asked for something it does not understand. */
export const EXIT_FAILURE = 125
/** A signal ended the command line; what it was running was ended first. */
export const EXIT_CANCELLED = 130
/** The reader of our output went away (128 + SIGPIPE). */
export const EXIT_BROKEN_PIPE = 141

/** The exit code for a failure of Anyplace's own; derived from the code of the error and from nothing else. */
export function exitCodeOf(code: ErrorCode): number {
  if (code === 'command-not-found') return 127
  if (code === 'command-not-executable') return 126
  if (code === 'cancelled') return EXIT_CANCELLED
  return EXIT_FAILURE
}

/** The table of the documentation and of `anyplace --help`. */
export const EXIT_CODES: readonly (readonly [code: string, meaning: string])[] = [
  ['0', 'it worked; for run, exec, shell and attach: the command ended with 0'],
  ['1-255', "run, exec, shell and attach pass the command's own exit code through (128 + n: signal n ended it)"],
  ['124', 'the command was killed because its --timeout was over'],
  ['125', 'anyplace itself failed or the arguments are wrong; stderr says why'],
  ['126', 'the command cannot be executed'],
  ['127', 'there is no such command'],
  ['130', 'cancelled by SIGINT, SIGTERM or SIGHUP; a command that ran is killed first'],
  ['141', 'the reader of our output went away, as in `| head -1`'],
]
