import { AnyplaceError } from '../spec/index.ts'
import type {
  Argv,
  BatchOptions,
  CallOptions,
  Files,
  Process,
  ResetReport,
  RunOptions,
  RunResult,
  ScanReport,
  Slot,
  SlotCommand,
  SlotRequest,
  SlotResult,
  SlotShell,
  Slots,
  SlotsInfo,
  SpawnOptions,
} from '../spec/index.ts'
import { throwIfAborted, untilAborted } from '../kit/deadline.ts'
import { call } from './call.ts'
import type { DaemonConnection } from './connection.ts'
import { DaemonFiles } from './daemon-files.ts'
import { MAX_CONTROL_BYTES } from './protocol.ts'
import type { HelloPayload } from './protocol.ts'
import { startTransient, runProcess } from './run-process.ts'
import { checkSlotName, runBatch } from './slot-batch.ts'
import { checkReset, checkScan, checkSlot, checkSlots } from './slot-checks.ts'
import { openShell } from './slot-shell.ts'
import { spawnProcess } from './spawn.ts'
import { exitStatus } from './wire-checks.ts'

/** The slots of a sandbox whose daemon can hold them; undefined where it cannot hold any. */
export function slotsOf(connection: DaemonConnection): Slots | undefined {
  const powers = connection.hello.slots
  if (powers === undefined || powers.user !== null) return undefined
  return new DaemonSlots(connection, powers)
}

class DaemonSlots implements Slots {
  readonly #connection: DaemonConnection
  readonly #powers: NonNullable<HelloPayload['slots']>

  constructor(connection: DaemonConnection, powers: NonNullable<HelloPayload['slots']>) {
    this.#connection = connection
    this.#powers = powers
  }

  async info(): Promise<SlotsInfo> {
    const { user, namespace, uids, own } = this.#powers
    // The last uid is that of the processes which end a slot's.
    return {
      refused: { user: user ?? undefined, namespace: namespace ?? undefined },
      uids: { first: uids.first, count: uids.count - 1 },
      hasOwnUids: own,
    }
  }

  async create(request: SlotRequest, options: CallOptions = {}): Promise<Slot> {
    const { name, uid, uidRange, pidsLimit, isolation, workspaceBase, env, template } = request
    checkSlotName(name, 'name')
    if (uid !== undefined && uidRange !== undefined) {
      throw new AnyplaceError('invalid-argument', 'Give either uid or uidRange.', { field: 'uid' })
    }
    const numbers = { uid, 'uidRange.first': uidRange?.first, 'uidRange.count': uidRange?.count, pidsLimit }
    for (const [field, value] of Object.entries(numbers)) {
      if (value !== undefined && (!Number.isSafeInteger(value) || value < 1)) {
        throw new AnyplaceError('invalid-argument', `${field} must be a whole number above 0 (got ${value}).`, {
          field,
        })
      }
    }
    const message = {
      op: 'slots',
      action: 'create',
      name,
      pidsLimit,
      isolation,
      ...(uid === undefined ? {} : { uid }),
      ...(uidRange === undefined ? {} : { uidRange: { first: uidRange.first, count: uidRange.count } }),
      ...(workspaceBase === undefined ? {} : { workspaceBase }),
      ...(env === undefined ? {} : { env }),
      ...(template === undefined ? {} : { template }),
    } as const
    throwIfAborted(options.signal)
    const made = call(this.#connection, message, (value) => checkSlot(value, 'the response to slots create'))
    return await untilAborted(made, options.signal).catch((error: unknown) => {
      // Given up too late: nobody else knows of it.
      made.then(() => this.remove(name)).catch(() => undefined)
      throw error
    })
  }

  async list(options: CallOptions = {}): Promise<readonly Slot[]> {
    const details = { ...options, maxBytes: MAX_CONTROL_BYTES }
    return await call(this.#connection, { op: 'slots', action: 'list' }, checkSlots, details)
  }

  async reset(
    name: string,
    request: { readonly strategy?: 'clean' | 'template' | 'none' | undefined } = {},
    options: CallOptions = {},
  ): Promise<ResetReport> {
    checkSlotName(name, 'name')
    const message = { op: 'slots', action: 'reset', name, strategy: request.strategy ?? 'clean' } as const
    return await call(this.#connection, message, checkReset, options)
  }

  async scan(name: string, options: CallOptions = {}): Promise<ScanReport> {
    checkSlotName(name, 'name')
    return await call(this.#connection, { op: 'slots', action: 'scan', name }, checkScan, options)
  }

  async remove(name: string, options: CallOptions = {}): Promise<void> {
    checkSlotName(name, 'name')
    await call(this.#connection, { op: 'slots', action: 'remove', name }, () => undefined, options)
  }

  async batch(commands: readonly SlotCommand[], options: BatchOptions = {}): Promise<readonly SlotResult[]> {
    return await runBatch(this.#connection, commands, options)
  }

  async run(name: string, argv: Argv, options: RunOptions = {}): Promise<RunResult> {
    const spawn = (words: Argv, more: SpawnOptions): Promise<Process> => this.spawn(name, words, more)
    checkSlotName(name, 'name')
    refuseUser(options)
    return await runProcess(
      {
        spawn,
        [startTransient]: async (words, more, sink, input) => {
          const process = await spawnProcess(this.#connection, words, more, { keep: false, sink, input, slot: name })
          return {
            id: process.id,
            get stdin() {
              return process.stdin
            },
            finished: async () => exitStatus(await process.finished()),
            cancel: () => process.killFor('cancel'),
          }
        },
      },
      argv,
      options,
    )
  }

  async spawn(name: string, argv: Argv, options: SpawnOptions = {}): Promise<Process> {
    checkSlotName(name, 'name')
    refuseUser(options)
    return await spawnProcess(this.#connection, argv, options, { keep: true, slot: name })
  }

  files(name: string): Files {
    checkSlotName(name, 'name')
    return new DaemonFiles(this.#connection, name)
  }

  shell(name: string): SlotShell {
    checkSlotName(name, 'name')
    return openShell((argv, options) => this.spawn(name, argv, options))
  }
}

function refuseUser({ user }: Pick<SpawnOptions, 'user'>): void {
  if (user === undefined) return
  throw new AnyplaceError('unsupported', `A slot's commands run as its own user, not as ${JSON.stringify(user)}.`, {
    field: 'user',
  })
}
