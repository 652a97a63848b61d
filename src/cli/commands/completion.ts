import { defineCommand } from '../command.ts'
import { jsonOption } from '../shared-options.ts'

export const completionCommand = defineCommand({
  name: 'completion',
  group: 'Setup',
  summary: 'print a completion script for a shell',
  examples: [
    { command: 'anyplace completion bash >> ~/.bashrc', summary: 'bash' },
    { command: 'anyplace completion zsh > "${fpath[1]}/_anyplace"', summary: 'zsh' },
    { command: 'anyplace completion fish > ~/.config/fish/completions/anyplace.fish', summary: 'fish' },
  ],
  arguments: {
    shell: {
      placeholder: 'SHELL',
      summary: 'bash, zsh or fish',
      presence: 'required',
      choices: ['bash', 'zsh', 'fish'],
    },
  },
  options: { ...jsonOption },
  async run({ arguments: { shell }, reporter }) {
    const [{ completionScript }, { commands }] = await Promise.all([
      import('../completion-script.ts'),
      import('./index.ts'),
    ])
    const script = completionScript(shell as 'bash' | 'zsh' | 'fish', commands)
    await reporter.result({ shell, script }, script)
  },
})
