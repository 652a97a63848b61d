import type { Power } from './powers.ts'

/** One promise of the product, as data. */
export interface Requirement {
  /** What a user may rely on, in one sentence. */
  readonly behaviour: string
  /** Where it is promised. */
  readonly source: string
  /** Only where the target has all of these powers. */
  readonly needs?: readonly Power[] | undefined
  /** Only where the target lacks this power: the honest refusal. */
  readonly lacks?: Power | undefined
  /** Why it is restricted. Required with `needs` or `lacks` when the power alone does not say it. */
  readonly why?: string | undefined
  /** Takes long (more than some seconds); ANYPLACE_QUICK=1 leaves it out and says so. */
  readonly slow?: boolean | undefined
}

/** Requirements by id: `area:what`. */
export type Requirements = Readonly<Record<string, Requirement>>
