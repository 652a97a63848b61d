import type { Context } from './context.ts'

/** The body of a test: throws when the requirement does not hold. */
export type Verification = (context: Context) => Promise<void>

const verifications = new Map<string, Verification>()

/** Says how a requirement is checked. One test for one requirement; a second for the same id is an error. */
export function verifies(id: string, body: Verification): void {
  if (verifications.has(id)) throw new Error(`Requirement ${JSON.stringify(id)} is verified twice.`)
  verifications.set(id, body)
}

/** All checks by requirement id. Filled by importing the areas. */
export function allVerifications(): ReadonlyMap<string, Verification> {
  return verifications
}
