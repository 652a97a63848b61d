import { AnyplaceError, ERROR_CODES } from '../../spec/index.ts'
import type { CallOptions, ErrorCode } from '../../spec/index.ts'
import { OutputCollector } from '../../kit/collect.ts'
import { abortError, untilAborted } from '../../kit/deadline.ts'
import { utf8Lossy } from '../../kit/text-bytes.ts'
import { placePath, startCommand } from './commands.ts'
import type { CommandDefaults } from './commands.ts'
import { FAILURE_PREFIX } from './file-scripts.ts'
import type { Place } from './place.ts'
import type { PlatformProcess } from './platform-process.ts'

/** What is being done to which path, for messages. */
export interface FileTask {
  readonly verb: string
  readonly path: string
}

const MAX_STDERR_BYTES = 16 * 1024

/** What the tools of the place say (with LC_ALL=C) at the end of a line when a call of the system failed. */
const SAID: readonly (readonly [RegExp, ErrorCode])[] = [
  [/(No space left on device|Disk quota exceeded)$/m, 'no-space'],
  [/(Permission denied|Operation not permitted|Read-only file system)$/m, 'permission-denied'],
  [/Directory not empty$/m, 'is-a-directory'],
  [/Is a directory$/m, 'is-a-directory'],
  [/Not a directory$/m, 'not-a-directory'],
  [/(No such file or directory|nonexistent directory)$/m, 'file-not-found'],
  [/File exists$/m, 'file-exists'],
  [/(File name too long|Too many levels of symbolic links)$/m, 'invalid-argument'],
]

/** One script at work on the files of the place, as the sandbox's user. */
export class FileJob {
  readonly process: PlatformProcess
  readonly #task: FileTask
  readonly #signal: AbortSignal | undefined
  readonly #said = new OutputCollector({ maxBytes: MAX_STDERR_BYTES, keep: 'both' })
  readonly #listening: Promise<void>
  #writer: WritableStreamDefaultWriter<Uint8Array> | undefined

  private constructor(process: PlatformProcess, task: FileTask, signal: AbortSignal | undefined) {
    this.process = process
    this.#task = task
    this.#signal = signal
    this.#listening = this.#listen()
    this.#listening.catch(() => {})
  }

  /** Starts a script; its first parameter is the task's path, made absolute. */
  static async start(
    place: Place,
    defaults: CommandDefaults,
    task: FileTask,
    script: string,
    words: readonly string[],
    options: CallOptions & { readonly stdin?: 'pipe' | undefined } = {},
  ): Promise<FileJob> {
    const path = placePath(place.workdir, task.path, 'path')
    const argv = ['/bin/sh', '-c', script, 'anyplace', path, ...words]
    const spawnOptions = { cwd: '/', stdin: options.stdin ?? 'none', signal: options.signal } as const
    const process = await startCommand(place, argv, spawnOptions, { ...defaults, env: {} })
    return new FileJob(process, task, options.signal)
  }

  /** What the script prints; ends early with the call's error when the signal aborts. Read it to its end, then {@link FileJob.finish}. */
  async *output(): AsyncGenerator<Uint8Array, void, undefined> {
    const reader = this.process.stdout.getReader()
    const onAbort = (): void => {
      void this.#end()
    }
    this.#signal?.addEventListener('abort', onAbort, { once: true })
    try {
      for (;;) {
        const { done, value } = await reader.read()
        if (this.#signal?.aborted) throw abortError(this.#signal)
        if (done) return
        yield value
      }
    } finally {
      this.#signal?.removeEventListener('abort', onAbort)
      reader.releaseLock()
    }
  }

  /** Writes to the script's stdin, until it has ended or the signal aborts. {@link FileJob.finish} closes it. */
  async feed(content: AsyncIterable<Uint8Array>): Promise<void> {
    this.#writer ??= this.process.stdin?.getWriter()
    const iterator = content[Symbol.asyncIterator]()
    let onEnd = (): void => {}
    let isDone = false
    this.process.ended.then(() => onEnd()).catch(() => {})
    try {
      for (;;) {
        if (this.process.status !== undefined) return
        // A source that says nothing any more must hold up neither an abort nor the word of a script that failed. Not
        // Promise.race with the end, which would hold every chunk until then.
        const arriving = new Promise<IteratorResult<Uint8Array> | undefined>((resolve, reject) => {
          onEnd = () => resolve(undefined)
          iterator.next().then(resolve, reject)
        })
        const next = await untilAborted(arriving, this.#signal)
        isDone = next?.done === true
        if (next === undefined || next.done === true) return
        await untilAborted(this.#writer?.write(next.value) ?? Promise.resolve(), this.#signal)
      }
    } finally {
      if (!isDone) Promise.resolve(iterator.return?.()).catch(() => {})
    }
  }

  /** Waits for the script's end. @throws AnyplaceError with the reason when it failed */
  async finish(options: { readonly accept?: (exitCode: number, said: string) => boolean } = {}): Promise<void> {
    const onAbort = (): void => {
      void this.#end()
    }
    this.#signal?.addEventListener('abort', onAbort, { once: true })
    try {
      if (this.#signal?.aborted) throw abortError(this.#signal)
      await this.#writer?.close()
      const { exitCode } = await this.process.wait({ signal: this.#signal })
      await this.#listening
      const said = utf8Lossy(this.#said.bytes())
      if (exitCode !== 0 && options.accept?.(exitCode, said) !== true) throw failure(this.#task, exitCode, said)
    } finally {
      this.#signal?.removeEventListener('abort', onAbort)
    }
  }

  /** Ends the script if it still runs: its stdin first, so that one that writes cleans up behind itself. */
  async stop(): Promise<void> {
    this.process.discard()
    if (this.process.status === undefined) await this.#end()
    await this.process.detach()
  }

  async #end(): Promise<void> {
    if (this.process.stdin === undefined) {
      await this.process.kill().catch(() => {})
      return
    }
    await (this.#writer ?? this.process.stdin).abort().catch(() => {})
    await this.process.wait({ signal: AbortSignal.timeout(5000) }).catch(() => this.process.kill().catch(() => {}))
  }

  async #listen(): Promise<void> {
    for await (const chunk of this.process.stderr) this.#said.push(chunk)
  }
}

function failure({ verb, path }: FileTask, exitCode: number, said: string): AnyplaceError {
  const named = said.lastIndexOf(FAILURE_PREFIX)
  const reason = named < 0 ? '' : said.slice(named + FAILURE_PREFIX.length).trim()
  const what = `Cannot ${verb} ${JSON.stringify(path)}`
  const data = { path }
  if (reason === 'not-a-file') return new AnyplaceError('invalid-argument', `${what}: it is not a file.`, { data })
  if (reason === 'cut-off') return new AnyplaceError('connection-lost', `${what}: its content broke off.`, { data })
  if (reason.startsWith('no-program:')) {
    const program = reason.slice('no-program:'.length)
    return new AnyplaceError('unsupported', `${what}: the place has no ${program} and no exec daemon.`, {
      data,
      hint: `use an image with ${program}, or with Python 3.9 or newer`,
    })
  }
  if (reason in ERROR_CODES) {
    const text = (named > 0 ? said.slice(0, named).trim() : '') || reason.replaceAll('-', ' ')
    return new AnyplaceError(reason as ErrorCode, `${what}: ${text.slice(0, 500)}.`, { data })
  }
  const code = SAID.find(([pattern]) => pattern.test(said))?.[1] ?? 'internal'
  const text = said.trim().slice(0, 500) || `exit code ${exitCode}`
  return new AnyplaceError(code, `${what}: ${text}.`, { data: { path, exitCode } })
}
