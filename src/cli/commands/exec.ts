import { defineCommand, flag, list, value } from '../command.ts'
import { parseEnv, parseSecret, parseText } from '../parse-values.ts'
import { runInSandbox } from '../run-in-sandbox.ts'
import { given, record } from '../sandbox-request.ts'
import { commandOptions, jsonOption, nodeOptions, sandboxArgument } from '../shared-options.ts'
import { requireTerminal } from '../terminal.ts'
import { usageError } from '../usage-error.ts'
import { heads } from '../verb-heads.ts'

export const execCommand = defineCommand({
  ...heads.exec,
  details:
    'The command stands behind "--" and its exit code becomes ours. With --detach it is left running and the id of its ' +
    'process is printed, for `anyplace logs`, `attach` and `kill`.',
  examples: [
    { command: 'anyplace exec work -- ls -la', summary: 'one command' },
    { command: 'anyplace exec work -w src -e DEBUG=1 -- make', summary: 'elsewhere, with a variable' },
    { command: 'anyplace exec --detach work -- python3 train.py', summary: 'leave it running' },
    { command: 'tar c src | anyplace exec -i work -- tar x', summary: 'with stdin' },
    { command: 'anyplace exec -t work -- top', summary: 'on a terminal' },
  ],
  takesCommand: true,
  otherOptions: {
    image: 'the sandbox has its image already; to choose one: anyplace open --image IMAGE',
    mount: 'mounts are given when a sandbox is opened: anyplace open --mount SOURCE:TARGET',
    workspace: 'the workspace is given when a sandbox is opened: anyplace open --workspace DIR',
  },
  arguments: { sandbox: sandboxArgument },
  options: {
    detach: flag('leave it running and print the id of its process', 'd'),
    ...commandOptions,
    env: list('NAME=VALUE', 'environment variable; NAME alone takes our own value', parseEnv, 'e'),
    secret: list('NAME', 'secret variable; the value is taken from our own environment', parseSecret),
    workdir: value('DIR', "where it starts, relative to the sandbox's own working directory", parseText, 'w'),
    user: value('USER', 'uid, uid:gid, name or name:group to run as', parseText, 'u'),
    ...nodeOptions,
    ...jsonOption,
  },
  async run({ arguments: { sandbox }, options, argv, io, reporter, api }) {
    const { detach, interactive, tty } = options
    if (detach && (interactive || tty)) {
      throw usageError('--detach leaves nobody to type, so it does not go with -i or -t.', 'leave one of them out')
    }
    if (tty) requireTerminal(io, reporter.json)
    const spawn = {
      ...given('cwd', options.workdir),
      ...given('user', options.user),
      ...given('timeoutMs', options.timeout),
      ...(options.env.length === 0 ? {} : { env: record('--env', options.env) }),
    }
    const { attach } = await api()
    const secrets = options.secret.length === 0 ? {} : { secrets: record('--secret', options.secret) }
    const box = await attach(sandbox, { ...given('on', options.on), ...secrets, signal: io.signal })
    try {
      if (!detach) return await runInSandbox(box, { argv, interactive, tty, spawn }, io, reporter)
      const process = await box.spawn(argv, { ...spawn, signal: io.signal })
      await process.detach()
      await reporter.result({ sandbox: box.name, processId: process.id, pid: process.pid }, `${process.id}\n`)
      return 0
    } finally {
      await box.detach()
    }
  },
})
