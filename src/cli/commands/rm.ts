import { defineCommand } from '../command.ts'
import { EXIT_FAILURE } from '../exit-codes.ts'
import { asAnyplaceError, errorFields } from '../reporter.ts'
import { given } from '../sandbox-request.ts'
import { jsonOption, nodeOptions } from '../shared-options.ts'
import { heads } from '../verb-heads.ts'

export const rmCommand = defineCommand({
  ...heads.rm,
  details: 'Prints the name of each that is gone. One that fails does not stop the others; the exit code is then 125.',
  examples: [
    { command: 'anyplace rm work', summary: 'one' },
    { command: 'anyplace rm $(anyplace ps -q)', summary: 'all' },
  ],
  otherOptions: {
    force: 'it is not needed: rm always ends what runs',
    all: 'write: anyplace rm $(anyplace ps -q)',
  },
  arguments: { sandboxes: { placeholder: 'SANDBOX', summary: 'names or ids', presence: 'one-or-more' } },
  options: { ...nodeOptions, ...jsonOption },
  async run({ arguments: { sandboxes }, options, io, reporter, api }) {
    const { remove } = await api()
    const removed: string[] = []
    const failed: object[] = []
    for (const sandbox of new Set(sandboxes)) {
      try {
        await remove(sandbox, { ...given('on', options.on), signal: io.signal })
        removed.push(sandbox)
        if (!reporter.json) await reporter.result({}, `${sandbox}\n`)
      } catch (thrown) {
        if (io.signal.aborted) throw thrown
        const error = asAnyplaceError(thrown)
        failed.push({ sandbox, ...errorFields(error) })
        // With one name the failure is the whole outcome; with several each is told as it happens.
        if (sandboxes.length === 1) throw error
        if (!reporter.json) await reporter.failure(error)
      }
    }
    if (reporter.json) await reporter.result({ removed, failed }, '')
    return failed.length > 0 ? EXIT_FAILURE : 0
  },
})
