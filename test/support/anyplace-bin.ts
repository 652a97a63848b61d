import { spawn } from 'node:child_process'
import type { ChildProcessWithoutNullStreams } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** The built command line, as a user has it; ANYPLACE_TEST_BIN names another one, such as an installed package's. */
export const BIN: string =
  process.env['ANYPLACE_TEST_BIN'] ?? fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
if (!existsSync(BIN)) throw new Error(`${BIN} is not there; run: npm run build`)

export interface BinCall {
  /** Null when a signal ended it. */
  readonly code: number | null
  readonly out: string
  readonly err: string
  readonly outBytes: Buffer
}

export interface StartedBin {
  readonly child: ChildProcessWithoutNullStreams
  readonly ended: Promise<BinCall>
  /** What stdout holds by now. */
  outSoFar(): string
  /** Resolves when stdout holds the text; rejects when the process ended without it. */
  printed(text: string): Promise<void>
}

export function startBin(words: readonly string[], env: NodeJS.ProcessEnv): StartedBin {
  const child = spawn(process.execPath, [BIN, ...words], { env, stdio: 'pipe' })
  child.stdin.on('error', () => undefined)
  const out: Buffer[] = []
  const err: Buffer[] = []
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk))
  child.stderr.on('data', (chunk: Buffer) => err.push(chunk))
  const ended = new Promise<BinCall>((resolve) => {
    child.on('close', (code) => {
      const outBytes = Buffer.concat(out)
      resolve({ code, out: outBytes.toString(), err: Buffer.concat(err).toString(), outBytes })
    })
  })
  return {
    child,
    ended,
    outSoFar: () => Buffer.concat(out).toString(),
    printed: (text) =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          if (Buffer.concat(out).includes(text)) resolve()
        }
        child.stdout.on('data', look)
        void ended.then((call) =>
          reject(new Error(`it ended without ${JSON.stringify(text)}: ${JSON.stringify(call)}`)),
        )
        look()
      }),
  }
}

/** Runs it to its end. stdin is at its end at once unless `input` is given. */
export async function runBin(words: readonly string[], env: NodeJS.ProcessEnv, input?: Uint8Array): Promise<BinCall> {
  const { child, ended } = startBin(words, env)
  child.stdin.end(input)
  return ended
}
