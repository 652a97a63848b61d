import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { afterAll, beforeAll, describe, test } from 'vitest'
import { dockerEngine } from '../../src/engines/docker/docker-engine.ts'
import { namespaceEngine } from '../../src/engines/namespace/index.ts'
import { localMachine } from '../../src/providers/local/local-machine.ts'
import { openSandbox } from '../../src/sandboxes/open-sandbox.ts'
import { SLOT_SECCOMP_PROFILE } from './seccomp-profile.ts'
import type { Sandbox } from '../../src/sandboxes/sandbox.ts'
import type {
  Engine,
  Machine,
  Provider,
  RunResult,
  Slot,
  SlotIsolation,
  SlotRequest,
  Slots,
} from '../../src/spec/index.ts'

/** A sandbox with slots, open while its tests run. */
export interface SlotPlace {
  readonly engine: string
  readonly isolation: SlotIsolation
  readonly box: Sandbox
  readonly slots: Slots
  create(more?: Partial<SlotRequest>): Promise<Slot>
  sh(slot: Slot, text: string): Promise<RunResult>
  python(slot: Slot, text: string): Promise<RunResult>
  /** What a shell of the sandbox's own root prints. */
  asRoot(text: string): Promise<string>
}

/** Runs the tests in a real sandbox of every engine and level that can be had here; what cannot is skipped by name. */
export async function inEverySlotPlace(tests: (place: SlotPlace) => void): Promise<void> {
  const stateDirectory = await mkdtemp(join(tmpdir(), 'anyplace-slots-'))
  afterAll(() => rm(stateDirectory, { recursive: true, force: true }))
  const expected = (process.env['ANYPLACE_EXPECT'] ?? '').split(',')
  const local = localMachine()
  const machine: Machine = { ...local, facts: async (options) => ({ ...(await local.facts(options)), stateDirectory }) }
  const withProfile = dockerEngine(machine, {
    kind: 'docker',
    slotSecurity: () => Promise.resolve({ seccompProfile: JSON.stringify(SLOT_SECCOMP_PROFILE) }),
  })
  const places: readonly (readonly [Engine, SlotIsolation])[] = [
    [dockerEngine(machine, { kind: 'docker' }), 'user'],
    [withProfile, 'namespace'],
    [namespaceEngine(machine), 'user'],
    [namespaceEngine(machine), 'namespace'],
  ]
  for (const [engine, level] of places) {
    const why = await unavailable(engine)
    if (why !== undefined) {
      if (expected.includes(engine.name)) throw new Error(`ANYPLACE_EXPECT names ${engine.name}: ${why}`)
      test.skip(`${engine.name}, ${level}: NOT TESTED, ${why}`, () => {})
      continue
    }
    describe(`${engine.name}, ${level}`, { timeout: 60_000 }, () => tests(placeOf(engine, level)))
  }
}

async function unavailable(engine: Engine): Promise<string | undefined> {
  const { status, message } = await engine.check()
  if (status !== 'ok') return message
  const isRoot = process.getuid?.() === 0
  return engine.name === 'namespace' && !isRoot ? 'only root can map the users of slots' : undefined
}

function placeOf(engine: Engine, isolation: SlotIsolation): SlotPlace {
  let opened: Sandbox | undefined
  let count = 0
  const check = async () => [await engine.check()]
  const provider: Provider = { type: 'local', contractVersion: 1, ...engine, check }
  beforeAll(async () => {
    opened = await openSandbox({ provider }, { slots: 60, timeoutMs: 300_000 })
  })
  afterAll(() => opened?.close())
  const slots = (): Slots => opened!.slots!
  return {
    engine: engine.name,
    isolation,
    get box() {
      return opened!
    },
    get slots() {
      return slots()
    },
    create: (more) => slots().create({ name: `s${++count}`, pidsLimit: 64, isolation, ...more }),
    sh: (slot, text) => slots().run(slot.name, ['sh', '-c', text]),
    python: (slot, text) => slots().run(slot.name, ['python3', '-c', text]),
    asRoot: async (text) => (await opened!.run(['sh', '-c', text], { user: '0:0' })).stdout,
  }
}

export async function until(check: () => Promise<boolean>): Promise<void> {
  while (!(await check())) await new Promise((done) => setTimeout(done, 20))
}
