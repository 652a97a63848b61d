#!/usr/bin/env node
import { readFileSync } from 'node:fs'
import { AnyplaceError } from '../spec/index.ts'
import { isBrokenPipe } from './cli-io.ts'
import { EXIT_CANCELLED } from './exit-codes.ts'
import { rawWords } from './raw-words.ts'
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
const code = await runCli(
  rawWords(process.argv.slice(2)),
  {
    stdin: process.stdin,
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
