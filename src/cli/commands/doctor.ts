import { defineCommand } from '../command.ts'
import { EXIT_FAILURE } from '../exit-codes.ts'
import { printableLine } from '../printable.ts'
import { given } from '../sandbox-request.ts'
import { jsonOption, nodeOptions } from '../shared-options.ts'
import { heads } from '../verb-heads.ts'

const MARKS = { ok: 'ok  ', warning: 'warn', unavailable: 'no  ' } as const

export const doctorCommand = defineCommand({
  ...heads.doctor,
  details: 'The exit code is 0 when some engine works and 125 when none does.',
  examples: [
    { command: 'anyplace doctor', summary: 'everything' },
    { command: 'anyplace doctor --on local/docker', summary: 'one engine' },
  ],
  arguments: {},
  options: { ...nodeOptions, ...jsonOption },
  async run({ options, io, reporter, api }) {
    const { doctor } = await api()
    const findings = await doctor({ ...given('on', options.on), signal: io.signal })
    const width = Math.max(...findings.map(({ subject }) => subject.length))
    const text = findings
      .map(({ subject, status, message, hint }) => {
        const line = `${MARKS[status]}  ${subject.padEnd(width)}  ${printableLine(message)}\n`
        return status === 'ok' || hint === undefined
          ? line
          : `${line}${' '.repeat(width + 8)}hint: ${printableLine(hint)}\n`
      })
      .join('')
    await reporter.result({ findings }, text)
    return findings.some(({ subject, status }) => status === 'ok' && subject !== 'node') ? 0 : EXIT_FAILURE
  },
})
