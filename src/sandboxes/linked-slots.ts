import { AnyplaceError } from '../spec/index.ts'
import type { Process, Session, SlotCommand, Slots, SpawnOptions } from '../spec/index.ts'
import { openShell } from '../execd/slot-shell.ts'
import { linkedFiles } from './linked-files.ts'
import type { SessionCall } from './linked-files.ts'
import { LinkedProcess } from './linked-process.ts'

/** What slots of a sandbox need beside its sessions. */
export interface LinkedSlotsParts {
  /** Given to every command. */
  readonly secrets: Readonly<Record<string, string>>
  readonly explain: (error: unknown) => Promise<unknown>
}

/** Slots over whatever session works at the moment. What only looks is asked again after a lost link; what changes is not. */
export function linkedSlots(call: SessionCall, parts: LinkedSlotsParts): Slots {
  const { secrets, explain } = parts
  const spawn = (name: string, argv: readonly string[], options: SpawnOptions = {}): Promise<Process> =>
    call(
      async (session) => {
        const env = { ...secrets, ...options.env }
        return new LinkedProcess(await slotsOf(session).spawn(name, argv, { ...options, env }), explain)
      },
      { signal: options.signal, repeatable: options.key !== undefined },
    )
  return {
    info: (options) => call((session) => slotsOf(session).info(options), { ...options, repeatable: true }),
    list: (options) => call((session) => slotsOf(session).list(options), { ...options, repeatable: true }),
    scan: (name, options) => call((session) => slotsOf(session).scan(name, options), { ...options, repeatable: true }),
    create: (request, options) => call((session) => slotsOf(session).create(request, options), { ...options }),
    reset: (name, request, options) =>
      call((session) => slotsOf(session).reset(name, request, options), { ...options }),
    remove: (name, options) =>
      call((session) => slotsOf(session).remove(name, options), { ...options, repeatable: true }),
    batch: (commands: readonly SlotCommand[], options = {}) =>
      call((session) => slotsOf(session).batch(commands, { ...options, env: { ...secrets, ...options.env } }), {
        signal: options.signal,
      }),
    run: (name, argv, options = {}) =>
      call((session) => slotsOf(session).run(name, argv, { ...options, env: { ...secrets, ...options.env } }), {
        signal: options.signal,
      }),
    spawn,
    files: (name) =>
      linkedFiles((ask, options) => call((session) => ask({ files: slotsOf(session).files(name) }), options)),
    shell: (name) => openShell((argv, options) => spawn(name, argv, options)),
  }
}

function slotsOf(session: Session): Slots {
  if (session.slots !== undefined) return session.slots
  throw new AnyplaceError('unsupported', 'This sandbox cannot hold slots: its exec daemon cannot switch users.', {
    hint: 'use an image with Python, on docker or podman',
  })
}
