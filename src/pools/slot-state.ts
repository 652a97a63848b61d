import { AnyplaceError } from '../spec/index.ts'

/**
 * - `available`: clean and free
 * - `acquired`: leased, nothing runs in it
 * - `executing`: leased, a command runs in it
 * - `releasing`: given back and being made clean; nobody's
 * - `error`: could not be made clean, or its sandbox has gone; never handed out again
 */
export type SlotState = 'available' | 'acquired' | 'executing' | 'releasing' | 'error'

/**
 * - `acquire`: leased to a trajectory
 * - `start`, `finish`: a command begins and ends
 * - `release`: given back, by its owner or because the lease is over
 * - `clean`: verified to be as new
 * - `dirty`: cleaning failed or did not verify
 * - `inspect`: taken out for a closer look
 * - `lose`: its sandbox has gone
 */
export type SlotEvent = 'acquire' | 'start' | 'finish' | 'release' | 'clean' | 'dirty' | 'inspect' | 'lose'

/** The whole state machine: what is not in it cannot happen. */
export const SLOT_TRANSITIONS: Readonly<Record<SlotState, Readonly<Partial<Record<SlotEvent, SlotState>>>>> = {
  available: { acquire: 'acquired', inspect: 'releasing', dirty: 'error', lose: 'error' },
  acquired: { start: 'executing', release: 'releasing', lose: 'error' },
  executing: { finish: 'acquired', release: 'releasing', lose: 'error' },
  releasing: { clean: 'available', dirty: 'error', lose: 'error' },
  error: {},
}

/** @throws AnyplaceError `conflict` when the event cannot happen in that state */
export function nextState(state: SlotState, event: SlotEvent, slotId: string): SlotState {
  const next = SLOT_TRANSITIONS[state][event]
  if (next !== undefined) return next
  throw new AnyplaceError('conflict', `Slot ${slotId} is ${state}, so it cannot ${event}.`, {
    data: { slotId, state, event },
  })
}
