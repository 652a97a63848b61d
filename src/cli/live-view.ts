import { setTimeout as sleep } from 'node:timers/promises'
import type { CliIo } from './cli-io.ts'
import { writeAll } from './cli-io.ts'

const INTERVAL_MS = 1000
const CURSOR_HIDDEN = '\u001B[?25l'
const CURSOR_SHOWN = '\u001B[?25h'

/**
 * Draws a text again and again in place until we are asked to stop. Where stdout is no terminal, each text follows the one
 * before.
 */
export async function liveView(io: CliIo, text: () => Promise<string>): Promise<void> {
  const isTerminal = io.stdout.isTTY === true
  let drawn = 0
  if (isTerminal) await writeAll(io.stdout, CURSOR_HIDDEN)
  try {
    while (!io.signal.aborted) {
      const rows = (io.stdout.rows ?? 24) - 1
      const columns = io.stdout.columns ?? 80
      const all = (await text()).trimEnd().split('\n')
      // A line that wraps would be counted wrong.
      const lines = isTerminal ? all.slice(0, rows).map((line) => line.slice(0, columns - 1)) : all
      const back = drawn > 0 ? `\u001B[${drawn}A` : ''
      const screen = isTerminal
        ? `${back}${lines.map((line) => `\u001B[2K${line}\n`).join('')}\u001B[J`
        : `${lines.join('\n')}\n`
      await writeAll(io.stdout, screen)
      drawn = isTerminal ? lines.length : 0
      await sleep(INTERVAL_MS, undefined, { signal: io.signal }).catch(() => undefined)
    }
  } finally {
    if (isTerminal) await writeAll(io.stdout, CURSOR_SHOWN).catch(() => undefined)
  }
}
