import { writeSync } from 'node:fs'
import type { TestedApi, TestedOptions } from './target.ts'

/** What a second client process shall do. It prints one line of JSON per step and then waits to be killed. */
export interface OtherClientRequest {
  readonly open?: TestedOptions
  /** Instead of open. */
  readonly attach?: { readonly on: string; readonly name: string }
  /** Started one after the other; their ids are printed. */
  readonly spawn?: readonly {
    readonly argv: readonly string[]
    readonly stdin?: 'none' | 'pipe'
    readonly key?: string
  }[]
  /** Reads the output of the process started at this index and prints its size and sha256 as it ends. */
  readonly follow?: number
  /** Ends by itself, without closing the sandbox, instead of waiting. */
  readonly exit?: boolean
  /** Opens this many sandboxes instead of one, the first half of them detached. */
  readonly count?: number
}

/** One line of what the second client says. */
export type OtherClientLine =
  | { readonly step: 'opened'; readonly id: string; readonly name: string }
  | { readonly step: 'spawned'; readonly processId: string; readonly sandboxId: string }
  | { readonly step: 'followed'; readonly bytes: number; readonly sha256: string; readonly exitCode: number }
  | { readonly step: 'ready' }
  | { readonly step: 'failed'; readonly code: string; readonly message: string }

/** The whole second client: does `request` and says so on stdout. */
export async function otherClient(api: TestedApi, request: OtherClientRequest): Promise<void> {
  try {
    for (let index = 0; index < (request.count ?? 1); index += 1) {
      const half = request.count === undefined ? {} : { detached: index % 2 === 0 }
      const box = request.attach
        ? await api.attach(request.attach.name, { on: request.attach.on })
        : await api.open({ ...request.open, ...half })
      say({ step: 'opened', id: box.id, name: box.name })
      const processes = []
      for (const { argv, ...options } of request.spawn ?? []) {
        const process = await box.spawn(argv, options)
        processes.push(process)
        say({ step: 'spawned', processId: process.id, sandboxId: box.id })
      }
      const followed = request.follow === undefined ? undefined : processes[request.follow]
      if (followed !== undefined) await follow(followed)
    }
    say({ step: 'ready' })
  } catch (error) {
    const { code = 'internal', message = String(error) } = error as { code?: string; message?: string }
    say({ step: 'failed', code, message })
  }
  if (request.exit === true) process.exit(0)
  setInterval(() => undefined, 60_000)
}

async function follow(followed: Awaited<ReturnType<Awaited<ReturnType<TestedApi['open']>>['spawn']>>): Promise<void> {
  const { createHash } = await import('node:crypto')
  const hash = createHash('sha256')
  let bytes = 0
  for await (const chunk of followed.stdout) {
    hash.update(chunk)
    bytes += chunk.byteLength
  }
  const { exitCode } = await followed.wait()
  say({ step: 'followed', bytes, sha256: hash.digest('hex'), exitCode })
}

/** Synchronous, so that a kill right after it does not lose the line. */
function say(line: OtherClientLine): void {
  writeSync(1, `${JSON.stringify(line)}\n`)
}
