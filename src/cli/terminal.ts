import type { Process } from '../spec/index.ts'
import type { CliIo, OutputStream } from './cli-io.ts'
import { writeAll } from './cli-io.ts'
import { feedStdin } from './feed-stdin.ts'
import { OutputFollower } from './output-follower.ts'
import { usageError } from './usage-error.ts'

export interface ScreenSize {
  readonly columns: number
  readonly rows: number
}

/**
 * Called before anything is opened, so that a script learns at once that this is not for it.
 *
 * @throws AnyplaceError `invalid-argument`
 */
export function requireTerminal(io: CliIo, json: boolean): void {
  const screen = json ? 'stderr' : 'stdout'
  const missing = io.stdin.isTTY !== true ? 'stdin' : io[screen].isTTY !== true ? screen : undefined
  if (missing === undefined) return
  throw usageError(
    `A terminal is needed, but ${missing} is not one.`,
    'without a terminal: anyplace exec SANDBOX -- CMD, with -i to pipe something in',
  )
}

/** Our own terminal, to be lent to a process inside. */
export class LocalTerminal {
  readonly #io: CliIo
  readonly #screen: OutputStream

  /**
   * @param json the screen is stderr then, since stdout is for the result
   * @throws AnyplaceError `invalid-argument` when we are not on a terminal
   */
  constructor(io: CliIo, json: boolean) {
    requireTerminal(io, json)
    this.#io = io
    this.#screen = json ? io.stderr : io.stdout
  }

  get size(): ScreenSize {
    return { columns: this.#screen.columns ?? 80, rows: this.#screen.rows ?? 24 }
  }

  /** Environment that tells the process what kind of terminal it is on. */
  get env(): Readonly<Record<string, string>> {
    const { TERM, COLORTERM } = this.#io.env
    return { TERM: TERM || 'xterm', ...(COLORTERM ? { COLORTERM } : {}) }
  }

  /** Connects keyboard and screen to the process until it ends. The terminal is as before afterwards, whatever happens. */
  async lend<Result>(process: Process, until: () => Promise<Result>): Promise<Result> {
    const { stdin } = this.#io
    const screen = this.#screen
    const onResize = (): void => {
      const { columns, rows } = this.size
      process.resize(columns, rows).catch(() => undefined)
    }
    const follower = new OutputFollower(process, (_, bytes) => writeAll(screen, bytes))
    let stopFeeding = (): void => undefined
    try {
      stdin.setRawMode?.(true)
      screen.on('resize', onResize)
      stopFeeding = feedStdin(process, stdin)
      const [result] = await Promise.all([until(), follower.done])
      return result
    } finally {
      stopFeeding()
      screen.off('resize', onResize)
      stdin.setRawMode?.(false)
      await follower.stop()
    }
  }
}
