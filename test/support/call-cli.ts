import { PassThrough, Readable } from 'node:stream'
import type { CliApi } from '../../src/cli/api.ts'
import type { CliIo, InputStream, OutputStream } from '../../src/cli/cli-io.ts'
import { runCli } from '../../src/cli/run-cli.ts'

export interface CliCall {
  readonly code: number
  readonly out: string
  readonly err: string
}

export interface CliCallOptions {
  readonly api?: Partial<CliApi>
  readonly env?: Readonly<Record<string, string>>
  readonly stdin?: Readable
  readonly signal?: AbortSignal
  /** Pretends that the streams are a terminal. */
  readonly terminal?: boolean
}

/** The command line in this process: words in, exit code and both outputs out. Without `api` it calls the real library. */
export async function callCli(words: readonly string[], options: CliCallOptions = {}): Promise<CliCall> {
  const out = collector(options.terminal ?? false)
  const err = collector(options.terminal ?? false)
  const io: CliIo = {
    stdin: (options.stdin ?? Readable.from([])) as InputStream,
    stdout: out.stream,
    stderr: err.stream,
    env: options.env ?? {},
    cwd: '/here',
    signal: options.signal ?? new AbortController().signal,
  }
  const { api } = options
  const code = await runCli(words, io, {
    version: '1.2.3',
    ...(api === undefined ? {} : { loadApi: () => Promise.resolve(api as CliApi) }),
  })
  return { code, out: out.text(), err: err.text() }
}

function collector(isTTY: boolean): { readonly stream: OutputStream; readonly text: () => string } {
  const chunks: Buffer[] = []
  const stream = new PassThrough()
  stream.on('data', (chunk: Buffer) => chunks.push(chunk))
  return {
    stream: Object.assign(stream, { isTTY, columns: 100, rows: 24 }),
    text: () => Buffer.concat(chunks).toString(),
  }
}
