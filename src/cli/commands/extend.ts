import { defineCommand } from '../command.ts'
import { formatDuration, parseDuration } from '../parse-duration.ts'
import { given } from '../sandbox-request.ts'
import { jsonOption, nodeOptions, sandboxArgument } from '../shared-options.ts'
import { heads } from '../verb-heads.ts'

/** A difference below this is no cap. */
const ROUND_TRIP_MS = 5_000

export const extendCommand = defineCommand({
  ...heads.extend,
  details: 'Its end moves to DURATION from now, never earlier than it was and never beyond its --max-lifetime.',
  examples: [{ command: 'anyplace extend work 2h', summary: 'two hours from now' }],
  arguments: {
    sandbox: sandboxArgument,
    duration: {
      placeholder: 'DURATION',
      summary: 'from now, such as 30m or 2h',
      presence: 'required',
      parse: parseDuration,
    },
  },
  options: { ...nodeOptions, ...jsonOption },
  async run({ arguments: { sandbox, duration }, options, io, reporter, api }) {
    const { attach } = await api()
    const box = await attach(sandbox, { ...given('on', options.on), signal: io.signal })
    try {
      const expiresAt = await box.extend(duration, { signal: io.signal })
      // The call takes a moment itself.
      const isCapped = expiresAt.getTime() < Date.now() + duration - ROUND_TRIP_MS
      const why = isCapped ? '; its --max-lifetime allows no more' : ''
      const left = formatDuration(expiresAt.getTime() - Date.now())
      await reporter.result(
        { sandbox: box.name, expiresAt, isCapped },
        `${box.name} ends in ${left}, at ${expiresAt.toISOString()}${why}\n`,
      )
    } finally {
      await box.detach()
    }
  },
})
