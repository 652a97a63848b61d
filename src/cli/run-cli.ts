import { AnyplaceError } from '../spec/errors.ts'
import { loadApi } from './api.ts'
import type { CliApi } from './api.ts'
import { isBrokenPipe, writeAll } from './cli-io.ts'
import type { CliIo } from './cli-io.ts'
import { EXIT_BROKEN_PIPE, exitCodeOf } from './exit-codes.ts'
import { parseCommandLine } from './parse-command-line.ts'
import { asAnyplaceError, Reporter } from './reporter.ts'
import { splitWords } from './word-scan.ts'

const WIDEST_HELP = 110

/**
 * One call of the command line: the words after `anyplace` in, the exit code out. Never throws; ends nothing but what it
 * started itself.
 */
export async function runCli(
  words: readonly string[],
  io: CliIo,
  options: { readonly version: string; readonly loadApi?: () => Promise<CliApi> },
): Promise<number> {
  // Known before the words are understood, since a failure to understand them is told as JSON too.
  let reporter = new Reporter(io, splitWords(words).own.includes('--json'))
  try {
    const width = Math.min(io.stdout.columns ?? 100, WIDEST_HELP)
    const line = await parseCommandLine(words, { env: io.env, cwd: io.cwd, width, version: options.version })
    if (line.kind === 'text') {
      await writeAll(io.stdout, line.text)
      return 0
    }
    reporter = new Reporter(io, line.options['json'] === true)
    if (io.signal.aborted) throw io.signal.reason
    const code = await line.command.run({
      arguments: line.arguments,
      options: line.options,
      argv: line.argv,
      io,
      reporter,
      api: options.loadApi ?? loadApi,
    })
    return isBrokenPipe(io.signal.reason) ? EXIT_BROKEN_PIPE : (code ?? 0)
  } catch (error) {
    return failed(error, io, reporter)
  } finally {
    reporter.clearProgress()
  }
}

async function failed(thrown: unknown, io: CliIo, reporter: Reporter): Promise<number> {
  // Nobody reads any more, so there is nobody to tell.
  if (isBrokenPipe(thrown) || isBrokenPipe(io.signal.reason)) return EXIT_BROKEN_PIPE
  const error = asAnyplaceError(thrown)
  if (io.env['ANYPLACE_DEBUG'] && !reporter.json) io.stderr.write(`${stackOf(thrown)}\n`)
  // The user pressed Ctrl-C and knows; a program is told.
  const isOwnWish = io.signal.aborted && AnyplaceError.is(error, 'cancelled')
  try {
    if (!isOwnWish || reporter.json) await reporter.failure(error)
  } catch (second) {
    if (isBrokenPipe(second)) return EXIT_BROKEN_PIPE
    throw second
  }
  return exitCodeOf(error.code)
}

function stackOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const own = error.stack ?? error.message
  return error.cause === undefined ? own : `${own}\ncaused by ${stackOf(error.cause)}`
}
