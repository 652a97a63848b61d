import { AnyplaceError } from '../spec/errors.ts'
import type { CliIo } from './cli-io.ts'
import { printableLine } from './printable.ts'

const BACKSPACE = /[\u007F\b]/
const CTRL_C = '\u0003'
const CTRL_D = '\u0004'

/** True when there is somebody to ask: the question goes to stderr, so that stdout stays the result. */
export function canAsk(io: CliIo): boolean {
  return io.stdin.isTTY === true && io.stderr.isTTY === true
}

/** Asks for a secret; what is typed is not shown. @throws AnyplaceError `cancelled` */
export function askSecret(io: CliIo, question: string): Promise<string> {
  return ask(io, question, true)
}

/** Asks a question that only "yes" answers with yes. @throws AnyplaceError `cancelled` */
export async function askYes(io: CliIo, question: string): Promise<boolean> {
  const answer = await ask(io, `${question} (yes/no) `, false)
  return answer.trim().toLowerCase() === 'yes'
}

/** Reads one line from the terminal, in raw mode so that nothing of a secret is shown. */
async function ask(io: CliIo, question: string, isSecret: boolean): Promise<string> {
  const { stdin, stderr, signal } = io
  stderr.write(printableLine(question))
  const typed: string[] = []
  let onData = (_: Buffer): void => undefined
  let onEnd = (): void => undefined
  let onAbort = (): void => undefined
  try {
    return await new Promise<string>((resolve, reject) => {
      const stop = (): void => reject(new AnyplaceError('cancelled', 'Nothing was answered.'))
      onEnd = stop
      onAbort = () => reject(signal.reason as Error)
      onData = (chunk) => {
        // Keys that send more than one character, such as arrows, mean nothing here.
        for (const character of withoutEscapes(chunk.toString('utf8'))) {
          if (character === '\r' || character === '\n') return resolve(typed.join(''))
          if (character === CTRL_C) return stop()
          if (character === CTRL_D && typed.length === 0) return stop()
          if (BACKSPACE.test(character)) {
            if (typed.pop() !== undefined && !isSecret) stderr.write('\b \b')
          } else if (character >= ' ') {
            typed.push(character)
            if (!isSecret) stderr.write(character)
          }
        }
      }
      if (signal.aborted) return onAbort()
      signal.addEventListener('abort', onAbort, { once: true })
      stdin.setRawMode?.(true)
      stdin.on('data', onData)
      stdin.on('end', onEnd)
      stdin.resume()
    })
  } finally {
    signal.removeEventListener('abort', onAbort)
    stdin.off('data', onData)
    stdin.off('end', onEnd)
    stdin.setRawMode?.(false)
    stdin.pause()
    stderr.write('\n')
  }
}

/** An escape is the first of several characters of one key. */
function withoutEscapes(text: string): string {
  const [first = '', ...rest] = text.split('\u001B')
  return [first, ...rest.map((part) => part.replace(/^\[?[0-9;]*[A-Za-z~]?/, ''))].join('')
}
