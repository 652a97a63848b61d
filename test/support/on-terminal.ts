import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { BIN } from './anyplace-bin.ts'

const DRIVER = fileURLToPath(new URL('../fixtures/on_terminal.py', import.meta.url))

export interface TerminalCall {
  readonly screen: string
  readonly code: number
  /** The terminal's modes are what they were before. */
  readonly restored: boolean
  readonly timedOut: boolean
}

/** Runs the built command line on a real terminal; each step waits for a pattern on the screen, then types. */
export async function onTerminal(
  words: readonly string[],
  env: NodeJS.ProcessEnv,
  steps: readonly (readonly [pattern: string, text: string])[],
): Promise<TerminalCall> {
  const argv = [DRIVER, JSON.stringify(steps), process.execPath, BIN, ...words]
  const { stdout } = await promisify(execFile)('python3', argv, { env })
  return JSON.parse(stdout) as TerminalCall
}
