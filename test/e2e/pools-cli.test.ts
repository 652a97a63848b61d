import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test, vi } from 'vitest'
import { callCli } from '../support/call-cli.ts'
import { poolPlaces, removeSandboxes } from '../support/pool-places.ts'

const places = await poolPlaces()

afterEach(async () => {
  vi.unstubAllEnvs()
  for (const place of places) await removeSandboxes(place, `cli${process.pid}`)
})

test('there is an engine that can hold slots', () => {
  expect(places.length).toBeGreaterThan(0)
})

for (const place of places) {
  test(`${place.name}: a pool from up to down`, { timeout: 120_000 }, async () => {
    const home = mkdtempSync(join(tmpdir(), 'anyplace-pools-cli-'))
    vi.stubEnv('ANYPLACE_HOME', home)
    const file = join(home, 'pools.yaml')
    const profile = { ...place.profile, appName: `cli${process.pid}`, slotsPerSandbox: 2 }
    writeFileSync(file, JSON.stringify({ profiles: { small: profile } }))
    const json = async (words: readonly string[]): Promise<Record<string, never>> =>
      JSON.parse((await callCli([...words.slice(0, 2), '--json', ...words.slice(2)])).out) as Record<string, never>

    expect(await callCli(['pools', 'status'])).toMatchObject({
      code: 0,
      out: 'No pools. Start one: anyplace pools up\n',
    })
    const early = await callCli(['pools', 'exec', 'small', '--', 'true'])
    expect(early).toMatchObject({ code: 125, err: expect.stringContaining('anyplace pools up small') })

    const up = await callCli(['pools', 'up', 'small', '--profiles', file, '--max', '2'])
    expect(up).toMatchObject({ code: 0, out: `cli${process.pid}-small: 2 slots in 1 sandbox\n` })
    expect(await callCli(['pools', 'up', 'small', '--profiles', file, '--max', '2'])).toMatchObject({ out: up.out })
    expect(await place.sandboxes(`cli${process.pid}`)).toHaveLength(1)

    const ran = await callCli([
      'pools',
      'exec',
      'small',
      '--',
      'sh',
      '-c',
      'echo "$0 here"; echo e >&2; exit 7',
      "a 'b",
    ])
    expect(ran).toEqual({ code: 7, out: "a 'b here\n", err: 'e\n' })
    const late = await json(['pools', 'exec', 'small', '--timeout', '300ms', '--', 'sleep', '30'])
    expect(late).toMatchObject({ source: 'command', exitCode: 124, timedOut: true })
    // Both at once: two slots, and nothing of the earlier commands in them.
    const both = await Promise.all(
      ['1', '2'].map((mark) =>
        callCli(['pools', 'exec', 'small', '--', 'sh', '-c', `ls -A; echo ${mark} >mark; sleep 0.2; cat mark`]),
      ),
    )
    expect(both.map(({ out }) => out)).toEqual(['1\n', '2\n'])

    const free = { state: 'free', slots: 2, leases: [] }
    expect(await json(['pools', 'status'])).toMatchObject({
      // The second one was for the second of the two at once: a sandbox has one controller at a time.
      pools: [{ profile: 'small', maxSandboxes: 2, sandboxes: [free, free] }],
    })
    expect((await callCli(['pools', 'status'])).out).toContain('0 of 4 slots leased')
    expect((await json(['pools', 'down', 'small']))['removed']).toContain(`cli${process.pid}-small-0`)
    expect(await place.sandboxes(`cli${process.pid}`)).toEqual([])
    expect((await callCli(['pools', 'status'])).out).toBe('No pools. Start one: anyplace pools up\n')
  })
}

test('config says where each value is from, and what is wrong with one', async () => {
  const env = { ATROPOS_MODAL_CPU: '2', ANYPLACE_POOL_IDLE_TIMEOUT: '90s' }
  const { out } = await callCli(['pools', 'config', '--json'], { env })
  const { profiles } = JSON.parse(out) as { profiles: Record<string, Record<string, unknown>> }
  expect(profiles['default']).toMatchObject({
    cpu: { value: 2, origin: 'environment', source: 'ATROPOS_MODAL_CPU' },
    idleTimeoutMs: { value: 90_000, origin: 'environment', source: 'ANYPLACE_POOL_IDLE_TIMEOUT' },
    image: { value: 'python:3.11', origin: 'default', source: 'default' },
  })
  const wrong = await callCli(['pools', 'config'], { env: { ATROPOS_MODAL_CPU: 'two' } })
  expect(wrong).toMatchObject({ code: 125, err: expect.stringContaining('ATROPOS_MODAL_CPU must be a number') })
  const unknown = await callCli(['pools', 'config', 'defalt'], { env })
  expect(unknown).toMatchObject({ code: 125, err: expect.stringContaining('did you mean default?') })
})

test('a live view is drawn in place, and the cursor comes back', async () => {
  vi.stubEnv('ANYPLACE_HOME', mkdtempSync(join(tmpdir(), 'anyplace-pools-cli-')))
  const stop = new AbortController()
  let looks = 0
  const api = {
    poolsStanding: () => {
      if (++looks === 2) stop.abort()
      return Promise.resolve([])
    },
  }
  const { code, out } = await callCli(['pools', 'status', '--watch'], { api, terminal: true, signal: stop.signal })
  expect(code).toBe(0)
  expect(out.split('No pools').length).toBe(3)
  expect(out).toContain('\u001B[1A')
  expect(out.endsWith('\u001B[?25h')).toBe(true)
})
