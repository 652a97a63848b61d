#!/usr/bin/env node
import { readFileSync } from 'node:fs'
import { AnyplaceError } from '../spec/errors.ts'
import { isBrokenPipe } from './cli-io.ts'
import { EXIT_CANCELLED } from './exit-codes.ts'
import { runCli } from './run-cli.ts'

const stop = new AbortController()

/** The first asks everything to end, the second leaves at once. */
function onSignal(name: string): void {
  if (stop.signal.aborted) process.exit(EXIT_CANCELLED)
  stop.abort(new AnyplaceError('cancelled', `Cancelled by ${name}.`))
}

for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, onSignal)
// A reader that goes away ends us as it ends any other program in a pipeline; the failing write tells it again.
process.stdout.on('error', (error) => {
  if (isBrokenPipe(error)) stop.abort(error)
})
process.stderr.on('error', () => undefined)

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string
}
const words = process.argv.slice(2)
// Node replaces bytes that are not UTF-8; only then the exact ones are looked up.
const exactWords = words.some((word) => word.includes('\uFFFD'))
  ? (await import('./raw-words.ts')).rawWords(words)
  : words

const code = await runCli(
  exactWords,
  {
    // Looked at only by who reads it: opening it costs time.
    get stdin() {
      return process.stdin
    },
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    cwd: process.cwd(),
    signal: stop.signal,
  },
  { version },
)
// What is still open, such as a stdin that nobody ended, must not keep us.
process.exit(code)
