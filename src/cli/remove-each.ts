import type { CliIo } from './cli-io.ts'
import { EXIT_FAILURE } from './exit-codes.ts'
import { asAnyplaceError, errorFields } from './reporter.ts'
import type { Reporter } from './reporter.ts'

/** Removes what is named, one after the other. One that fails does not stop the others; the exit code tells. */
export async function removeEach(
  names: readonly string[],
  what: string,
  remove: (name: string) => Promise<unknown>,
  io: CliIo,
  reporter: Reporter,
): Promise<number> {
  const removed: string[] = []
  const failed: object[] = []
  for (const name of new Set(names)) {
    try {
      await remove(name)
      removed.push(name)
      if (!reporter.json) await reporter.result({}, `${name}\n`)
    } catch (thrown) {
      if (io.signal.aborted) throw thrown
      const error = asAnyplaceError(thrown)
      failed.push({ [what]: name, ...errorFields(error) })
      // With one name the failure is the whole outcome; with several each is told as it happens.
      if (names.length === 1) throw error
      if (!reporter.json) await reporter.failure(error)
    }
  }
  if (reporter.json) await reporter.result({ removed, failed }, '')
  return failed.length > 0 ? EXIT_FAILURE : 0
}
