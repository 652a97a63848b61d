import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { OtherClientLine, OtherClientRequest } from './other-client.ts'

/** A second client process, as seen from the test. */
export interface OtherClient {
  readonly pid: number
  /** The next line of that step; rejects when the client failed or ended before. */
  line<Step extends OtherClientLine['step']>(step: Step): Promise<Extract<OtherClientLine, { readonly step: Step }>>
  /** Every line until that step, which is the last of them. */
  until(step: OtherClientLine['step']): Promise<readonly OtherClientLine[]>
  signal(name: NodeJS.Signals): void
  /** kill -9; resolves when it is dead. */
  kill(): Promise<void>
}

/** Starts it. The request goes over stdin, so that nothing of it is in the process list. */
export function startOtherClient(argv: readonly string[], request: OtherClientRequest): OtherClient {
  const [program = '', ...rest] = argv
  const child = spawn(program, rest, { stdio: ['pipe', 'pipe', 'pipe'] })
  const ended = once(child, 'exit')
  ended.catch(() => undefined)
  child.stdin.end(JSON.stringify(request))
  child.stdin.on('error', () => undefined)
  let stderr = ''
  child.stderr.on('data', (bytes: Buffer) => (stderr = `${stderr}${bytes.toString()}`.slice(-4000)))
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()

  async function next(): Promise<OtherClientLine> {
    const item = await lines.next()
    if (item.done === true) throw new Error(`The other client ended too soon: ${stderr}`)
    const line = JSON.parse(item.value) as OtherClientLine
    if (line.step === 'failed')
      throw Object.assign(new Error(`The other client failed: ${line.message}`), { code: line.code })
    return line
  }
  return {
    pid: child.pid ?? 0,
    async line(step) {
      for (;;) {
        const line = await next()
        if (line.step === step) return line as Extract<OtherClientLine, { readonly step: typeof step }>
      }
    },
    async until(step) {
      const seen: OtherClientLine[] = []
      while (seen.at(-1)?.step !== step) seen.push(await next())
      return seen
    },
    signal: (name) => void child.kill(name),
    async kill() {
      child.kill('SIGCONT')
      child.kill('SIGKILL')
      if (child.exitCode === null && child.signalCode === null) await ended.catch(() => undefined)
    },
  }
}
