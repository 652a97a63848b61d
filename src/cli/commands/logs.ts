import { untilAborted } from '../../kit/deadline.ts'
import { attachProcess, discardedNote } from '../attach-process.ts'
import { defineCommand, flag } from '../command.ts'
import { bytesField } from '../json-bytes.ts'
import { OutputFollower } from '../output-follower.ts'
import type { OutputSink } from '../output-follower.ts'
import { OutputEvents, passThrough } from '../output-sink.ts'
import { exitFields } from '../run-in-sandbox.ts'
import { given } from '../sandbox-request.ts'
import { jsonOption, nodeOptions, processArgument, sandboxArgument } from '../shared-options.ts'
import { heads } from '../verb-heads.ts'

export const logsCommand = defineCommand({
  ...heads.logs,
  details:
    "The output so far, or with -f until the process ends. The exit code is 0; `anyplace attach` gives the process's own.",
  examples: [
    { command: 'anyplace logs work PROCESS', summary: 'what it has printed so far' },
    { command: 'anyplace logs -f work PROCESS', summary: 'and what it will print' },
    { command: 'anyplace logs -f --json work PROCESS', summary: 'one JSON object a line' },
  ],
  arguments: { sandbox: sandboxArgument, process: processArgument },
  options: { follow: flag('go on until the process ends', 'f'), ...nodeOptions, ...jsonOption },
  async run({ arguments: { sandbox, process: id }, options, io, reporter, api }) {
    const { attach } = await api()
    const box = await attach(sandbox, { ...given('on', options.on), signal: io.signal })
    try {
      const process = await attachProcess(box, id, io.signal)
      const { fromOffset } = process
      const note = discardedNote(process)
      if (note !== undefined) reporter.note(note)
      const collected = { stdout: [] as Uint8Array[], stderr: [] as Uint8Array[] }
      const collect: OutputSink = (stream, bytes) => Promise.resolve(void collected[stream].push(bytes))
      const events = new OutputEvents(reporter, fromOffset)
      const sink = !reporter.json ? passThrough(io) : options.follow ? events.sink : collect
      const follower = new OutputFollower(process, sink)
      try {
        if (options.follow) {
          await untilAborted(follower.done, io.signal)
          if (reporter.json) {
            await events.end()
            await reporter.event({ ...exitFields(await process.wait({ signal: io.signal })), type: 'exit' })
          }
          return
        }
        await untilAborted(
          follower.caughtUp(() => box.processes({ signal: io.signal })),
          io.signal,
        )
        if (!reporter.json) return
        const state = (await box.processes({ signal: io.signal })).find((info) => info.id === id)
        await reporter.event({
          ...(state?.exit === undefined ? { source: 'command' } : exitFields(state.exit)),
          running: state?.exit === undefined,
          ...bytesField('stdout', Buffer.concat(collected.stdout)),
          ...bytesField('stderr', Buffer.concat(collected.stderr)),
          fromOffset,
          truncated: fromOffset.stdout > 0 || fromOffset.stderr > 0,
          sandbox: box.name,
          processId: id,
        })
      } finally {
        await follower.stop()
        await process.detach()
      }
    } finally {
      await box.detach()
    }
  },
})
