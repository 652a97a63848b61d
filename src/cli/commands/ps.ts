import type { ListedSandbox } from '../../nodes/open.ts'
import type { ProcessInfo } from '../../spec/index.ts'
import { quoteArgv } from '../../kit/quote.ts'
import { defineCommand, flag } from '../command.ts'
import { formatDuration } from '../parse-duration.ts'
import { given } from '../sandbox-request.ts'
import { jsonOption, nodeOptions } from '../shared-options.ts'
import { table } from '../table.ts'
import { heads } from '../verb-heads.ts'

export const psCommand = defineCommand({
  ...heads.ps,
  examples: [
    { command: 'anyplace ps', summary: 'all sandboxes' },
    { command: 'anyplace ps work', summary: 'what runs in one' },
    { command: 'anyplace rm $(anyplace ps -q)', summary: 'end them all' },
  ],
  arguments: {
    sandbox: { placeholder: 'SANDBOX', summary: 'name or id; then its processes are listed', presence: 'optional' },
  },
  options: { quiet: flag('print names only (for processes: ids)', 'q'), ...nodeOptions, ...jsonOption },
  async run({ arguments: { sandbox }, options, io, reporter, api }) {
    const { attach, list } = await api()
    const where = { ...given('on', options.on), signal: io.signal }
    if (sandbox === undefined) {
      const sandboxes: ListedSandbox[] = []
      for await (const info of list(where)) sandboxes.push(info)
      sandboxes.sort((a, b) => a.createdAt.getTime() - b.createdAt.getTime())
      const text = options.quiet ? sandboxes.map(({ name }) => `${name}\n`).join('') : sandboxTable(sandboxes)
      return reporter.result({ sandboxes }, text)
    }
    const box = await attach(sandbox, where)
    try {
      const processes = await box.processes({ signal: io.signal })
      const text = options.quiet ? processes.map(({ id }) => `${id}\n`).join('') : processTable(processes)
      return await reporter.result({ sandbox: box.name, processes }, text)
    } finally {
      await box.detach()
    }
  },
})

function sandboxTable(sandboxes: readonly ListedSandbox[]): string {
  if (sandboxes.length === 0) return 'No sandboxes. Open one: anyplace open\n'
  const now = Date.now()
  const rows = sandboxes.map((info) => [
    info.name,
    info.on,
    info.state === 'exited' && info.reason ? `exited (${info.reason})` : info.state,
    formatDuration(now - info.createdAt.getTime()),
    info.state === 'exited' ? '-' : `in ${formatDuration(info.expiresAt.getTime() - now)}`,
    info.image ?? '-',
    info.id,
  ])
  return table(['NAME', 'ON', 'STATE', 'AGE', 'ENDS', 'IMAGE', 'ID'], rows)
}

function processTable(processes: readonly ProcessInfo[]): string {
  if (processes.length === 0) return 'No processes.\n'
  const rows = processes.map((info) => [
    info.id,
    String(info.pid),
    info.exit === undefined ? info.state : `exited ${info.exit.exitCode}`,
    formatDuration(Date.now() - info.startedAt.getTime()),
    shorten(shownArgv(info.argv)),
  ])
  return table(['ID', 'PID', 'STATE', 'AGE', 'COMMAND'], rows)
}

function shownArgv(argv: readonly string[]): string {
  return quoteArgv(argv.map((word) => word.replaceAll('\0', '\\0')))
}

function shorten(text: string): string {
  return text.length > 120 ? `${text.slice(0, 119)}…` : text
}
