import { afterAll, expect, test } from 'vitest'
import { startOtherClient } from '../../conformance/other-client-process.ts'
import type { OtherClient } from '../../conformance/other-client-process.ts'
import type { OtherClientLine } from '../../conformance/other-client.ts'
import { attach, gc, list, remove } from '../../src/index.ts'
import { chaosTargets } from './targets.ts'

const COUNT = 20
const PROGRAM = 'i=0; while [ $i -lt 40 ]; do echo "line $i"; i=$((i+1)); sleep 0.1; done; echo end >&2; exit 17'
const OUTPUT = `${Array.from({ length: 40 }, (_, index) => `line ${index}`).join('\n')}\n`
const LIFETIME_MS = 60_000

const targets = await chaosTargets()
const clients: OtherClient[] = []
/** Sandboxes that nobody asks for any more, per engine. */
const forgotten = new Map<(typeof targets)[number], { readonly ids: readonly string[]; readonly endsAtMs: number }>()
afterAll(async () => {
  await Promise.all(clients.map((client) => client.kill()))
})

test('there is an engine to break', () => {
  expect(targets.length).toBeGreaterThan(0)
})

for (const target of targets) {
  const { name, on, otherClient, leftovers, spec } = target
  test(`kill -9 of a client in the middle of ${COUNT} sandboxes on ${name}`, { timeout: 240_000 }, async () => {
    const client = startOtherClient(otherClient, {
      open: { ...spec, on, timeoutMs: LIFETIME_MS },
      count: COUNT,
      spawn: [{ argv: ['sh', '-c', PROGRAM] }],
    })
    clients.push(client)
    const lines = await client.until('ready')
    await client.kill()
    const spawned = lines.filter((line) => line.step === 'spawned') as Extract<OtherClientLine, { step: 'spawned' }>[]
    expect(spawned.length).toBe(COUNT)
    // the other client detaches every second one, beginning with the first
    const detached = spawned.filter((_, index) => index % 2 === 0)
    const owned = spawned.filter((_, index) => index % 2 === 1)

    const report = await gc({ on })
    expect(report.failed).toEqual([])
    const removed = new Set(report.removed.map(({ id }) => id))
    expect(owned.filter(({ sandboxId }) => !removed.has(sandboxId))).toEqual([])
    expect(detached.filter(({ sandboxId }) => removed.has(sandboxId))).toEqual([])
    expect(await leftovers(...owned.map(({ sandboxId }) => sandboxId))).toEqual([])

    await Promise.all(
      detached.map(async ({ sandboxId, processId }) => {
        const box = await attach(sandboxId, { on })
        const process = await box.attach(processId)
        const [stdout, stderr, exit] = await Promise.all([
          new Response(process.stdout).text(),
          new Response(process.stderr).text(),
          process.wait(),
        ])
        expect({ stdout, stderr, exitCode: exit.exitCode }).toEqual({ stdout: OUTPUT, stderr: 'end\n', exitCode: 17 })
        await box.detach()
      }),
    )

    forgotten.set(target, { ids: detached.map(({ sandboxId }) => sandboxId), endsAtMs: Date.now() + LIFETIME_MS })
  })

  test(
    `kill -9 from inside of what starts commands on ${name}: alive or a typed end, no leftovers`,
    { timeout: 60_000 },
    async () => {
      const client = startOtherClient(otherClient, { open: { ...spec, on, timeoutMs: LIFETIME_MS, detached: true } })
      clients.push(client)
      const { id } = await client.line('opened')
      const box = await attach(id, { on })
      const waiting = box.run(['sleep', '100']).then(
        () => 'ended',
        (error: { code?: string }) => error.code,
      )
      // the daemon or its keeper: whoever started this command. Either way the sandbox must not half-live on.
      await box.shell('kill -9 $PPID').catch(() => undefined)
      const alive = await box.run(['echo', 'alive'], { timeoutMs: 20_000 }).then(
        ({ stdout }) => stdout,
        (error: { code?: string }) => error.code,
      )
      expect(['alive\n', 'sandbox-gone', 'connection-lost']).toContain(alive)
      await remove(id, { on }).catch((error: { code?: string }) => expect(error.code).toBe('sandbox-not-found'))
      expect(['sandbox-gone', 'connection-lost', 'ended']).toContain(await waiting)
      expect(await leftovers(id)).toEqual([])
    },
  )
}

// Last, so that the lifetimes of all engines' sandboxes pass together.
test('the sandboxes that nobody asked for any more are gone with their lifetimes', { timeout: 120_000 }, async () => {
  expect(forgotten.size).toBe(targets.length)
  for (const [{ name, on, leftovers }, { ids, endsAtMs }] of forgotten) {
    let left: readonly string[] = ['not looked yet']
    while (left.length > 0 && Date.now() < endsAtMs + 30_000) {
      left = await leftovers(...ids)
      if (left.length > 0) await new Promise((resolve) => setTimeout(resolve, 1000))
    }
    expect({ name, left }).toEqual({ name, left: [] })
    for await (const info of list({ on })) expect(ids).not.toContain(info.id)
  }
})
