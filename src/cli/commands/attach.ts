import { untilAborted } from '../../kit/deadline.ts'
import { attachProcess, discardedNote } from '../attach-process.ts'
import { defineCommand } from '../command.ts'
import { feedStdin } from '../feed-stdin.ts'
import { OutputFollower } from '../output-follower.ts'
import { OutputEvents, passThrough } from '../output-sink.ts'
import { exitFields } from '../run-in-sandbox.ts'
import { given } from '../sandbox-request.ts'
import { commandOptions, jsonOption, nodeOptions, processArgument, sandboxArgument } from '../shared-options.ts'
import { LocalTerminal } from '../terminal.ts'
import { heads } from '../verb-heads.ts'

export const attachCommand = defineCommand({
  ...heads.attach,
  details:
    'Its output is replayed from the beginning, then followed. Ctrl-C lets go of the process, which runs on; ' +
    '`anyplace kill` ends it.',
  examples: [
    { command: 'anyplace attach work PROCESS', summary: 'wait for it' },
    { command: 'anyplace attach -t work PROCESS', summary: 'take over a process that runs on a terminal' },
  ],
  arguments: { sandbox: sandboxArgument, process: processArgument },
  options: {
    interactive: commandOptions.interactive,
    tty: { ...commandOptions.tty, summary: 'lend our terminal to a process that was started with -t' },
    ...nodeOptions,
    ...jsonOption,
  },
  async run({ arguments: { sandbox, process: id }, options, io, reporter, api }) {
    const terminal = options.tty ? new LocalTerminal(io, reporter.json) : undefined
    const { attach } = await api()
    const box = await attach(sandbox, { ...given('on', options.on), signal: io.signal })
    try {
      const process = await attachProcess(box, id, io.signal)
      const note = discardedNote(process)
      if (note !== undefined) reporter.note(note)
      try {
        if (terminal !== undefined) {
          await process.resize(terminal.size.columns, terminal.size.rows)
          const status = await terminal.lend(process, () => untilAborted(process.wait(), io.signal))
          if (reporter.json) await reporter.event({ ...exitFields(status), type: 'exit' })
          return status.exitCode
        }
        const events = new OutputEvents(reporter, process.fromOffset)
        const follower = new OutputFollower(process, reporter.json ? events.sink : passThrough(io))
        const stopFeeding = options.interactive ? feedStdin(process, io.stdin) : undefined
        try {
          const [status] = await untilAborted(Promise.all([process.wait(), follower.done]), io.signal)
          if (reporter.json) {
            await events.end()
            await reporter.event({ ...exitFields(status), type: 'exit' })
          }
          return status.exitCode
        } finally {
          stopFeeding?.()
          await follower.stop()
        }
      } finally {
        await process.detach()
      }
    } finally {
      await box.detach()
    }
  },
})
