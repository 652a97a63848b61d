import { defineCommand } from '../command.ts'
import { formatBytes } from '../parse-size.ts'
import { given } from '../sandbox-request.ts'
import { jsonOption, nodeOptions, sandboxArgument } from '../shared-options.ts'
import { fields } from '../table.ts'
import { heads } from '../verb-heads.ts'

export const statsCommand = defineCommand({
  ...heads.stats,
  examples: [{ command: 'anyplace stats work', summary: 'cpu, memory, disk and processes' }],
  arguments: { sandbox: sandboxArgument },
  options: { ...nodeOptions, ...jsonOption },
  async run({ arguments: { sandbox }, options, io, reporter, api }) {
    const { attach } = await api()
    const box = await attach(sandbox, { ...given('on', options.on), signal: io.signal })
    try {
      const stats = await box.stats({ signal: io.signal })
      const { memoryLimitBytes, daemonMemoryBytes } = stats
      const limit = memoryLimitBytes === undefined ? 'no limit' : `of ${formatBytes(memoryLimitBytes)}`
      const text = fields([
        ['cpu', `${stats.cpuSeconds.toFixed(2)} s used`],
        ['memory', `${formatBytes(stats.memoryBytes)} (${limit})`],
        ['processes', String(stats.processes)],
        ['disk', `${formatBytes(stats.diskUsedBytes)} of ${formatBytes(stats.diskTotalBytes)}`],
        ...(daemonMemoryBytes === undefined ? [] : [['daemon', formatBytes(daemonMemoryBytes)] as const]),
      ])
      await reporter.result({ sandbox: box.name, stats }, text)
    } finally {
      await box.detach()
    }
  },
})
