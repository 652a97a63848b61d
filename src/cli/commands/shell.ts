import { defineCommand, list, value } from '../command.ts'
import { parseEnv, parseText } from '../parse-values.ts'
import { runInSandbox } from '../run-in-sandbox.ts'
import { given, record } from '../sandbox-request.ts'
import { jsonOption, nodeOptions, sandboxArgument } from '../shared-options.ts'
import { requireTerminal } from '../terminal.ts'
import { heads } from '../verb-heads.ts'

/** bash where there is one, because people expect its editing. */
const SHELL = ['/bin/sh', '-c', 'if command -v bash >/dev/null 2>&1; then exec bash; else exec sh; fi'] as const

export const shellCommand = defineCommand({
  ...heads.shell,
  details: 'bash where the sandbox has it, else sh. Leave it with `exit` or Ctrl-D; the exit code is its own.',
  examples: [
    { command: 'anyplace shell work', summary: 'look around' },
    { command: 'anyplace shell -u root -w /etc work', summary: 'as root, somewhere else' },
  ],
  otherOptions: { command: 'to run one command: anyplace exec -t SANDBOX -- CMD' },
  arguments: { sandbox: sandboxArgument },
  options: {
    env: list('NAME=VALUE', 'environment variable; NAME alone takes our own value', parseEnv, 'e'),
    workdir: value('DIR', "where it starts, relative to the sandbox's own working directory", parseText, 'w'),
    user: value('USER', 'uid, uid:gid, name or name:group to run as', parseText, 'u'),
    ...nodeOptions,
    ...jsonOption,
  },
  async run({ arguments: { sandbox }, options, io, reporter, api }) {
    requireTerminal(io, reporter.json)
    const { attach } = await api()
    const box = await attach(sandbox, { ...given('on', options.on), signal: io.signal })
    try {
      const spawn = {
        ...given('cwd', options.workdir),
        ...given('user', options.user),
        ...(options.env.length === 0 ? {} : { env: record('--env', options.env) }),
      }
      return await runInSandbox(box, { argv: SHELL, interactive: true, tty: true, spawn }, io, reporter)
    } finally {
      await box.detach()
    }
  },
})
