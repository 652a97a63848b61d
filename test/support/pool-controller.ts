import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { ProfileInput } from '../../src/index.ts'

/** A line that a controller of a pool said. */
export interface ControllerLine {
  readonly step: string
  readonly id: string
  readonly slotId: string
  readonly trajectoryId: string
  readonly token: number
  readonly output: string
}

/** A controller of a pool in a process of its own, to be killed. */
export class PoolController {
  readonly lines: ControllerLine[] = []
  readonly #child: ChildProcess
  #errors = ''
  #wake: () => void = () => undefined

  constructor(options: { profile: ProfileInput; directory: string; leases: number; tag: string; churnMs?: number }) {
    const program = fileURLToPath(new URL('../fixtures/pool-client.ts', import.meta.url))
    this.#child = spawn(process.execPath, ['--import', 'tsx', program, JSON.stringify(options)], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let rest = ''
    this.#child.stdout?.on('data', (bytes: Buffer) => {
      const parts = (rest + bytes.toString()).split('\n')
      rest = parts.pop() ?? ''
      for (const part of parts) this.lines.push(JSON.parse(part) as ControllerLine)
      this.#wake()
    })
    this.#child.stderr?.on('data', (bytes: Buffer) => (this.#errors += bytes.toString()))
    this.#child.on('exit', () => this.#wake())
  }

  /** Resolves once there are that many lines of the step. */
  async until(step: string, count = 1): Promise<readonly ControllerLine[]> {
    for (;;) {
      const found = this.lines.filter((line) => line.step === step)
      if (found.length >= count) return found
      if (this.#child.exitCode !== null) throw new Error(`The controller ended: ${this.#errors}`)
      await new Promise<void>((resolve) => (this.#wake = resolve))
    }
  }

  /** With SIGKILL; resolves when it is gone. */
  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const gone = new Promise((resolve) => this.#child.once('exit', resolve))
    this.#child.kill('SIGKILL')
    await gone
  }
}
