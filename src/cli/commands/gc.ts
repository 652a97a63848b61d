import { defineCommand, flag } from '../command.ts'
import { EXIT_FAILURE } from '../exit-codes.ts'
import { given } from '../sandbox-request.ts'
import { jsonOption, nodeOptions } from '../shared-options.ts'
import { table } from '../table.ts'
import { heads } from '../verb-heads.ts'

export const gcCommand = defineCommand({
  ...heads.gc,
  details:
    'A sandbox of a client that was killed is removed when that client is proven dead. What is in use, and what another ' +
    'machine may use, is kept; each with the reason.',
  examples: [
    { command: 'anyplace gc --dry-run', summary: 'only tell' },
    { command: 'anyplace gc', summary: 'remove' },
  ],
  arguments: {},
  options: { dryRun: flag('tell what would be removed and remove nothing', 'n'), ...nodeOptions, ...jsonOption },
  async run({ options, io, reporter, api }) {
    const { gc } = await api()
    const report = await gc({ dryRun: options.dryRun, ...given('on', options.on), signal: io.signal })
    const rows = [
      ...report.removed.map((entry) => [report.dryRun ? 'would remove' : 'removed', entry.name, entry.reason]),
      ...report.failed.map((entry) => ['failed', entry.name, entry.reason]),
      ...report.kept.map((entry) => ['kept', entry.name, entry.reason]),
    ]
    await reporter.result(
      report,
      rows.length === 0 ? 'Nothing to do: there are no sandboxes.\n' : table(['', 'NAME', 'REASON'], rows),
    )
    return report.failed.length > 0 ? EXIT_FAILURE : 0
  },
})
