import { setTimeout as delay } from 'node:timers/promises'
import { isBusy } from './store-error.ts'

/** Changing a database to a write-ahead log does not wait by itself, whatever the busy timeout. */
const PATIENCE_MS = 10_000

/** Does the work, and again while another process has the database for itself. */
export async function whileBusy<T>(work: () => Promise<T>): Promise<T> {
  const begin = performance.now()
  for (;;) {
    try {
      return await work()
    } catch (error) {
      if (!isBusy(error) || performance.now() - begin > PATIENCE_MS) throw error
      // Uneven, so that several that wait do not meet again.
      await delay(1 + Math.random() * 20)
    }
  }
}
