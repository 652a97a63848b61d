import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createPool, createPoolManager } from '../../src/index.ts'
import type { ProfileInput } from '../../src/index.ts'
import { openStore } from '../../src/store/index.ts'
import type { Store } from '../../src/store/index.ts'
import { PoolController } from '../support/pool-controller.ts'
import { poolPlaces, removeSandboxes } from '../support/pool-places.ts'

const places = await poolPlaces({ more: true })
const controllers: PoolController[] = []
let directory: string
let store: Store
let appName: string
let count = 0

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'anyplace-pools-'))
  store = await openStore({ directory })
  appName = `t${process.pid}-${count++}`
})

afterEach(async () => {
  await Promise.all(controllers.splice(0).map((controller) => controller.kill()))
  await store.close()
  for (const place of places) await removeSandboxes(place, appName)
})

function controller(options: { profile: ProfileInput; leases: number; tag: string; churnMs?: number }): PoolController {
  const started = new PoolController({ ...options, directory })
  controllers.push(started)
  return started
}

test('there is an engine that can hold slots', () => {
  expect(places.length).toBeGreaterThan(0)
})

for (const place of places) {
  const common = (): ProfileInput => ({ ...place.profile, appName, slotsPerSandbox: 3, maxSandboxes: 2 })

  test(`${place.name}: tools, shell and artifacts of a slot; the next trajectory finds nothing`, async () => {
    await using pool = await createPool({ store, profile: { ...common(), env: { POOL: 'yes' }, maxSandboxes: 1 } })
    const [a, b] = await Promise.all([pool.acquire('a'), pool.acquire('b')])
    expect(a.isolation).toBe(place.profile.isolation ?? 'user')
    const path = "odd $(touch x) 'name'/..data/-n"
    const results = await pool.executeBatch([
      { lease: a, tool: 'write_file', args: { path, content: 'h\u00e9\0llo\n' } },
      { lease: a, tool: 'read_file', args: { path } },
      {
        lease: a,
        tool: 'bash',
        args: { command: 'id -u; pwd; echo $POOL; umask 0; mkdir -p .dot ..two ro/x; chmod 0 ro' },
      },
      { lease: b, tool: 'bash', args: { command: `cat ${a.home}/* ; ls ${a.home}; kill -9 -1; id -u` } },
      { lease: a, tool: 'bash_stateful', args: { command: 'cd /usr; V=1; f() { echo "f $V"; }' } },
      { lease: a, tool: 'bash_stateful', args: { command: 'pwd; f' } },
      { lease: b, tool: 'bash_stateful', args: { command: 'pwd; echo "$V"' } },
      { lease: b, tool: 'bash', args: { command: 'sleep 60' }, timeoutMs: 300 },
      { lease: b, tool: 'bash', args: { command: 'echo out; echo err >&2; exit 7' } },
    ])
    expect(results[1]?.output).toBe('h\u00e9\0llo\n')
    expect(results[2]?.output).toBe(`${a.uid}\n${a.home}\nyes\n`)
    expect(results[3]?.output).not.toContain('h\u00e9')
    expect(results[5]?.output).toBe('/usr\nf 1\n')
    expect(results[6]?.output).toBe(`${b.home}\n\n`)
    expect(results[7]).toMatchObject({ success: false, metadata: { timedOut: true, returncode: 124 } })
    expect(results[8]).toMatchObject({ output: 'out\n\nerr\n', error: 'Exit code: 7', metadata: { returncode: 7 } })

    expect((await pool.artifacts(a).read(path)).sizeBytes).toBe(8)
    await expect(pool.artifacts(a).read('../../etc/passwd')).rejects.toMatchObject({ code: 'permission-denied' })
    await pool.execute(a, 'bash', { command: 'chmod 700 ro; (setsid sleep 300 &) ; sleep 300 & chmod 0 ro' })
    expect(await pool.release(a)).toMatchObject({ isClean: true })
    const next = await pool.acquire('c')
    expect(next.slotId).toBe(a.slotId)
    const look = await pool.execute(next, 'bash', {
      command: 'ls -A; ps -u "$(id -u)" -o comm= 2>/dev/null | grep sleep',
    })
    expect(look.output).toBe('')
  })

  test(`${place.name}: homes from a template, secrets, a limit on processes`, async () => {
    const template = '/usr/share/licenses-of-the-pool'
    const base = { ...common(), slotsPerSandbox: 1, maxSandboxes: 1 }
    const missing = await createPool({
      store,
      profile: { ...base, reset: 'template', template, appName: `${appName}x` },
    })
    await expect(missing.acquire()).rejects.toMatchObject({ message: expect.stringContaining(template) })
    await missing.stop()

    const profile: ProfileInput = { ...base, reset: 'template', processLimit: 20 }
    await using pool = await createPool({
      store,
      profile: { ...profile, template: '/etc/alternatives', secrets: ['token'] },
      resolveSecret: (name) => Promise.resolve({ [name.toUpperCase()]: 'hunter2' }),
    })
    const lease = await pool.acquire('a')
    const count = 'ls -A | wc -l; echo "$TOKEN"'
    const before = await pool.execute(lease, 'bash', { command: count })
    expect(before.output).toMatch(/^[1-9]\d*\nhunter2\n$/)
    expect((await pool.execute(lease, 'bash_stateful', { command: 'echo "$TOKEN"' })).output).toBe('hunter2\n')
    const storm = await pool.execute(
      lease,
      'bash',
      { command: 'for i in $(seq 60); do sleep 20 & done; wait' },
      { timeoutMs: 5000 },
    )
    expect(storm.output).toContain('fork')
    await pool.execute(lease, 'bash', { command: 'rm -rf ./* ; touch new' })
    await pool.release(lease)
    const next = await pool.acquire('b')
    expect((await pool.execute(next, 'bash', { command: count })).output).toBe(before.output)
    expect(JSON.stringify(await store.list('pools'))).not.toContain('hunter2')
  })

  test(`${place.name}: a batch is parallel, over profiles and sandboxes`, async () => {
    const profile = { ...common(), slotsPerSandbox: 2, maxSandboxes: 2 }
    await using manager = await createPoolManager({
      store,
      profiles: { default: profile, other: { ...profile, maxSandboxes: 1 } },
    })
    const leases = await Promise.all([
      ...['a', 'b', 'c'].map((id) => manager.acquire(id)),
      manager.acquire('d', { profile: 'other' }),
    ])
    await manager.executeBatch(
      leases.map((lease) => ({ lease, tool: 'write_file', args: { path: 'me', content: lease.id } })),
    )
    const command = 'cat me; echo; date +%s%N; sleep 1; date +%s%N'
    const results = await manager.executeBatch(
      leases.toReversed().map((lease) => ({ lease, tool: 'bash', args: { command } })),
    )
    const lines = results.map(({ output }) => output.split('\n'))
    expect(lines.map(([id]) => id)).toEqual(leases.toReversed().map(({ id }) => id))
    // Each began before the first one ended.
    expect(Math.max(...lines.map(([, began]) => Number(began)))).toBeLessThan(
      Math.min(...lines.map(([, , ended]) => Number(ended))),
    )
    expect(new Set(leases.map(({ sandbox }) => sandbox)).size).toBe(3)
    expect(Object.keys(manager.status().pools)).toEqual(['default', 'other'])
  })

  test(`${place.name}: kill -9 of the controller in the middle of a batch; the next one has its leases`, async () => {
    const profile = { ...common(), slotsPerSandbox: 2 }
    const first = controller({ profile, leases: 3, tag: 'first' })
    const leased = await first.until('leased', 3)
    await first.until('marked')
    await first.kill()
    expect(await place.sandboxes(appName)).toHaveLength(2)

    await using pool = await createPool({ store, profile })
    await pool.start()
    expect((await place.sandboxes(appName)).toSorted()).toEqual([`${appName}-default-0`, `${appName}-default-1`])
    expect(
      pool
        .leases()
        .map(({ trajectoryId }) => trajectoryId)
        .toSorted(),
    ).toEqual(['first-0', 'first-1', 'first-2'])
    for (const { trajectoryId, slotId, id } of leased) {
      const lease = pool.resume(trajectoryId)
      expect(lease).toMatchObject({ slotId, id })
      expect((await pool.execute(lease!, 'read_file', { path: 'mark' })).output).toBe(id)
    }
    const fresh = await pool.acquire('second')
    expect(leased.map(({ slotId }) => slotId)).not.toContain(fresh.slotId)
    await pool.stop()
    expect(await place.sandboxes(appName)).toEqual([])
  })

  test(`${place.name}: two controllers at once never have one slot, and see nothing of each other`, async () => {
    const profile = { ...common(), maxSandboxes: 4, idleTimeoutMs: 500 }
    const [one, two] = ['one', 'two'].map((tag) => controller({ profile, leases: 4, tag, churnMs: 20 }))
    const looks = (await Promise.all([one!.until('looked', 40), two!.until('looked', 40)])).flat()
    const now = (of: PoolController): string[] =>
      of.lines.filter(({ step }) => step === 'leased').map(({ slotId }) => slotId)
    const both = now(one!).filter((slotId) => now(two!).includes(slotId))
    expect(both).toEqual([])
    // The mark of the first round is in the first home only; there is never another owner's name.
    for (const { output } of looks) expect(output.split('\n')[0]).toBe('1')
    expect((await place.sandboxes(appName)).length).toBeLessThanOrEqual(4)
  })

  test(`${place.name}: kill -9 of a sandbox in the middle of a batch; the others' results stay`, async () => {
    const profile = { ...common(), slotsPerSandbox: 1, maxSandboxes: 2 }
    await using pool = await createPool({ store, profile })
    const [a, b] = await Promise.all([pool.acquire('a'), pool.acquire('b')])
    const work = pool.executeBatch([
      { lease: a, tool: 'bash', args: { command: 'echo early' } },
      { lease: a, tool: 'bash', args: { command: 'touch begun; sleep 20; echo late' } },
      { lease: b, tool: 'bash', args: { command: 'sleep 1; echo fine' } },
    ])
    const begun = (): Promise<boolean> =>
      pool
        .artifacts(a)
        .read('begun')
        .then(
          () => true,
          () => false,
        )
    await expect.poll(begun, { timeout: 15_000 }).toBe(true)
    await place.kill(a.sandbox)
    const results = await work
    expect(results.map(({ output, metadata }) => metadata.code ?? output)).toEqual([
      'early\n',
      expect.stringMatching(/^(sandbox-gone|connection-lost)$/),
      'fine\n',
    ])
    if (!a.signal.aborted) await new Promise((resolve) => a.signal.addEventListener('abort', resolve))
    expect(a.ended).toMatchObject({ code: 'sandbox-gone' })
    expect(b.ended).toBeUndefined()
    const c = await pool.acquire('c')
    expect((await pool.execute(c, 'bash', { command: 'echo again' })).output).toBe('again\n')
  })
}
