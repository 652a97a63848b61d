import { attachProcess } from '../attach-process.ts'
import { defineCommand, value } from '../command.ts'
import { parseSignal } from '../parse-values.ts'
import { given } from '../sandbox-request.ts'
import { jsonOption, nodeOptions, processArgument, sandboxArgument } from '../shared-options.ts'
import { heads } from '../verb-heads.ts'

export const killCommand = defineCommand({
  ...heads.kill,
  details: 'Returns when nothing of it is left. With --signal it only sends that signal to the process group.',
  examples: [
    { command: 'anyplace kill work PROCESS', summary: 'end the whole tree' },
    { command: 'anyplace kill --signal TERM work PROCESS', summary: 'ask it to end' },
  ],
  otherOptions: { all: 'to end everything: anyplace rm SANDBOX' },
  arguments: { sandbox: sandboxArgument, process: processArgument },
  options: {
    signal: value('NAME', 'send this signal instead, such as TERM or INT', parseSignal, 's'),
    ...nodeOptions,
    ...jsonOption,
  },
  async run({ arguments: { sandbox, process: id }, options, io, reporter, api }) {
    const { attach } = await api()
    const box = await attach(sandbox, { ...given('on', options.on), signal: io.signal })
    try {
      const process = await attachProcess(box, id, io.signal)
      try {
        if (options.signal === undefined) await process.kill()
        else await process.signal(options.signal)
      } finally {
        await process.detach()
      }
      await reporter.result({ sandbox: box.name, processId: id, signal: options.signal ?? null }, `${id}\n`)
    } finally {
      await box.detach()
    }
  },
})
