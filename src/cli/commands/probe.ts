import { formatProbe } from '../../nodes/probe/format-probe.ts'

import { defineCommand, value } from '../command.ts'
import { parseDuration } from '../parse-duration.ts'
import { parseText } from '../parse-values.ts'
import { printable } from '../printable.ts'
import { given } from '../sandbox-request.ts'
import { jsonOption, nodeOptions } from '../shared-options.ts'
import { heads } from '../verb-heads.ts'

export const probeCommand = defineCommand({
  ...heads.probe,
  details:
    'One script in one round trip asks the machine itself, outside of every sandbox. Sizes are of 2^30 bytes. With --json ' +
    'everything that was found is there, exact: versions with their paths, free memory and load of each GPU, MIG slices.',
  examples: [
    { command: 'anyplace probe', summary: 'this machine' },
    { command: 'anyplace probe --on gpu-box', summary: 'the machine behind a node' },
    { command: 'anyplace probe --on gpu-box --json', summary: 'all of it, for programs' },
  ],
  arguments: {},
  options: {
    workspace: value('DIR', 'directory whose disk is meant (default: where sandboxes keep their state)', parseText),
    timeout: value('DURATION', 'give up after this long, such as 10s (default: 30s)', parseDuration),
    ...nodeOptions,
    ...jsonOption,
  },
  async run({ options, io, reporter, api }) {
    const { probe } = await api()
    const report = await probe({
      ...given('on', options.on),
      ...given('workspace', options.workspace),
      ...given('timeoutMs', options.timeout),
      signal: io.signal,
    })
    await reporter.result({ report }, `${printable(formatProbe(report))}\n`)
  },
})
