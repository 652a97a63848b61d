import { once } from 'node:events'
import { defineCommand } from '../command.ts'
import { EXIT_CANCELLED } from '../exit-codes.ts'
import { parsePorts } from '../parse-values.ts'
import { given } from '../sandbox-request.ts'
import { jsonOption, nodeOptions, sandboxArgument } from '../shared-options.ts'
import { heads } from '../verb-heads.ts'

export const portCommand = defineCommand({
  ...heads.port,
  details: 'Runs until Ctrl-C. Works with --network none too: nothing but this tunnel is opened.',
  examples: [
    { command: 'anyplace port work 8080:80', summary: 'port 80 inside as 127.0.0.1:8080' },
    { command: 'anyplace port work 3000', summary: 'the same number on both sides' },
    { command: 'anyplace port work 0:5432', summary: 'any free local port, which is printed' },
  ],
  arguments: {
    sandbox: sandboxArgument,
    ports: {
      placeholder: 'LOCAL:REMOTE',
      summary: 'two ports, or one for both',
      presence: 'required',
      parse: parsePorts,
    },
  },
  options: { ...nodeOptions, ...jsonOption },
  async run({ arguments: { sandbox, ports }, options, io, reporter, api }) {
    const { attach } = await api()
    const { localPort, remotePort } = ports
    const box = await attach(sandbox, { ...given('on', options.on), signal: io.signal })
    try {
      const forward = await box.forward(remotePort, { localPort, signal: io.signal })
      const address = `127.0.0.1:${forward.localPort}`
      await reporter.result(
        { type: 'listening', sandbox: box.name, address, localPort: forward.localPort, remotePort },
        `${address} -> ${box.name}:${remotePort}\n`,
      )
      const ended = await Promise.race([
        box.session.closed,
        io.signal.aborted ? undefined : once(io.signal, 'abort').then(() => undefined),
      ])
      await forward.close()
      if (ended !== undefined && !io.signal.aborted) throw ended
      return EXIT_CANCELLED
    } finally {
      await box.detach()
    }
  },
})
