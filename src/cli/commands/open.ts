import { defineCommand, value } from '../command.ts'
import { openCallbacks } from '../open-progress.ts'
import { parseDuration } from '../parse-duration.ts'
import { parseText } from '../parse-values.ts'
import { given, sandboxRequest } from '../sandbox-request.ts'
import { jsonOption, nodeOptions, specOptions } from '../shared-options.ts'
import { heads } from '../verb-heads.ts'

export const openCommand = defineCommand({
  ...heads.open,
  details:
    'The sandbox lives until its --timeout (one hour when not given) or `anyplace rm`. With --name the call can be ' +
    'repeated: the same name with the same options gives the sandbox that runs already.',
  examples: [
    { command: 'anyplace open', summary: 'a sandbox with Python' },
    { command: 'anyplace open --name work --timeout 4h --memory-limit 2GiB', summary: 'named, for four hours, capped' },
    { command: 'box=$(anyplace open) && anyplace exec "$box" -- python3 -V', summary: 'use it in a script' },
  ],
  otherOptions: {
    detach: 'it always stays',
    gpu: 'the command line has no option for GPUs yet; in a program: open({ gpu: { type, count } })',
  },
  arguments: {},
  options: {
    name: value(
      'NAME',
      'name to reach it by; opening it again gives the same sandbox (default: made up)',
      parseText,
      'n',
    ),
    ...nodeOptions,
    ...specOptions,
    timeout: value('DURATION', 'end it after this long, such as 30s, 5m or 4h (default: 1h)', parseDuration),
    maxLifetime: value('DURATION', 'age that `anyplace extend` cannot go beyond (default: --timeout)', parseDuration),
    idleTimeout: value('DURATION', 'end it after this long without a process or a client', parseDuration),
    ...jsonOption,
  },
  async run({ options, io, reporter, api }) {
    const { open } = await api()
    const box = await open({
      ...sandboxRequest(options),
      detached: true,
      ...given('name', options.name),
      ...given('on', options.on),
      ...given('timeoutMs', options.timeout),
      ...given('maxLifetimeMs', options.maxLifetime),
      ...given('idleTimeoutMs', options.idleTimeout),
      ...openCallbacks(io, reporter),
    })
    try {
      await reporter.result(reporter.json ? { sandbox: await box.info({ signal: io.signal }) } : {}, `${box.name}\n`)
    } finally {
      await box.detach()
    }
  },
})
