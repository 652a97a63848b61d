import { completionScript } from '../completion-script.ts'
import { defineCommand } from '../command.ts'
import { jsonOption } from '../shared-options.ts'
import { heads } from '../verb-heads.ts'
import { loadCommands } from '../verbs.ts'

export const completionCommand = defineCommand({
  ...heads.completion,
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
    const script = completionScript(shell as 'bash' | 'zsh' | 'fish', await loadCommands())
    await reporter.result({ shell, script }, script)
  },
})
