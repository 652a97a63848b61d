import { DEFAULTS } from '../../spec/index.ts'
import { defineCommand } from '../command.ts'
import { openCallbacks } from '../open-progress.ts'
import { runInSandbox } from '../run-in-sandbox.ts'
import { given, sandboxRequest } from '../sandbox-request.ts'
import { commandOptions, jsonOption, nodeOptions, specOptions } from '../shared-options.ts'
import { requireTerminal } from '../terminal.ts'
import { heads } from '../verb-heads.ts'

/** The sandbox outlives the command's deadline by this much, so that the result still arrives. */
const GRACE_MS = 60_000

export const runCommand = defineCommand({
  ...heads.run,
  details:
    'The command stands behind "--" and its exit code becomes ours. Its stdin is empty unless -i is given. It may take ' +
    'an hour unless --timeout says otherwise.',
  examples: [
    { command: "anyplace run -- python3 -c 'print(6 * 7)'", summary: 'one command' },
    { command: 'anyplace run --workspace . --network none -- python3 test.py', summary: 'on the files here, offline' },
    { command: 'anyplace run -i -- wc -l < data.csv', summary: 'with stdin' },
    { command: 'anyplace run --json --timeout 30s -- make check', summary: 'for a program, with a deadline' },
  ],
  takesCommand: true,
  otherOptions: {
    name: 'a fresh sandbox is gone when the command ends; to keep one: anyplace open --name NAME',
    detach: 'to leave work running: anyplace open, then anyplace exec --detach',
    rm: 'it is always removed',
    gpu: 'the command line has no option for GPUs yet; in a program: open({ gpu: { type, count } })',
    'max-lifetime': 'use --timeout',
  },
  arguments: {},
  options: { ...commandOptions, ...nodeOptions, ...specOptions, ...jsonOption },
  async run({ options, argv, io, reporter, api }) {
    if (options.tty) requireTerminal(io, reporter.json)
    const { open } = await api()
    const timeoutMs = options.timeout ?? DEFAULTS.timeoutMs
    const box = await open({
      ...sandboxRequest(options),
      ...given('on', options.on),
      timeoutMs: timeoutMs + GRACE_MS,
      ...openCallbacks(io, reporter),
    })
    try {
      const { interactive, tty } = options
      return await runInSandbox(box, { argv, interactive, tty, spawn: { timeoutMs } }, io, reporter)
    } finally {
      await box.close()
    }
  },
})
