import assert from 'node:assert/strict'
import type { Process } from '../../src/spec/index.ts'
import { verifies } from '../verifies.ts'

/** Reads a terminal's output until a text has come. */
class Screen {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>
  readonly #decoder = new TextDecoder()
  text = ''

  constructor(process: Process) {
    this.#reader = process.stdout.getReader()
  }

  async shows(text: string): Promise<void> {
    while (!this.text.includes(text)) {
      const { value, done } = await this.#reader.read()
      if (done) throw new Error(`The terminal ended without ${JSON.stringify(text)}: ${JSON.stringify(this.text)}`)
      this.text += this.#decoder.decode(value, { stream: true })
    }
  }
}

async function type(process: Process, text: string): Promise<void> {
  assert.ok(process.stdin, 'a terminal has stdin')
  const writer = process.stdin.getWriter()
  await writer.write(new TextEncoder().encode(text))
  writer.releaseLock()
}

verifies('process:pty-size', async ({ box }) => {
  // a trapped signal ends dash's `read` early: that must not end the loop
  const process = await (
    await box()
  ).spawn(
    [
      'sh',
      '-c',
      'test -t 0 && test -t 1 && test -t 2 && echo terminal; stty size; trap "stty size; echo changed" WINCH; while :; do read line && stty size; done',
    ],
    { pty: { columns: 91, rows: 33 } },
  )
  const screen = new Screen(process)
  await screen.shows('terminal')
  await screen.shows('33 91')
  await process.resize(120, 50)
  await type(process, 'again\n')
  await screen.shows('50 120')
  await process.kill()
})

verifies('process:pty-interrupt', async ({ box }) => {
  const process = await (
    await box()
  ).spawn(['sh', '-c', 'trap "echo interrupted; exit 3" INT; echo ready; while :; do sleep 0.1; done'], {
    pty: { columns: 80, rows: 24 },
  })
  const screen = new Screen(process)
  await screen.shows('ready')
  await type(process, '\u0003')
  await screen.shows('interrupted')
  assert.equal((await process.wait()).exitCode, 3)
})

verifies('process:pty-echo', async ({ box }) => {
  const process = await (
    await box()
  ).spawn(['sh', '-c', 'while read -r line; do echo "<$line>"; [ "$line" = last ] && exit 0; done'], {
    pty: { columns: 200, rows: 24 },
  })
  const screen = new Screen(process)
  const words = Array.from({ length: 40 }, (_, index) => `line-${index}-größe`)
  for (const word of words) {
    await type(process, `${word}\n`)
    await screen.shows(`<${word}>`)
  }
  await type(process, 'last\n')
  await screen.shows('<last>')
  assert.equal((await process.wait()).exitCode, 0)
  for (const word of words) {
    const count = screen.text.split('\r\n').filter((line) => line === word).length
    assert.equal(count, 1, `${word} was echoed ${count} times`)
  }
})
