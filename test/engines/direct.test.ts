import { mkdir, mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { directEngine } from '../../src/engines/direct/index.ts'
import type { SandboxSpec } from '../../src/spec/index.ts'
import { enginePlace, ownSeconds, pidIn, sleepersOf, until } from '../support/engine-place.ts'
import type { EnginePlace } from '../support/engine-place.ts'

let place: EnginePlace
beforeAll(async () => {
  place = await enginePlace(directEngine)
})
afterAll(() => place[Symbol.asyncDispose]())

describe('the direct engine', () => {
  it('runs commands in a directory of the sandbox that only its user may enter', async () => {
    const box = await place.open()
    expect((await box.run(['pwd'])).stdout).toBe(`${box.directory}/workspace\n`)
    expect((await stat(box.directory)).mode & 0o777).toBe(0o700)
    expect(await box.host.info()).toMatchObject({
      engine: 'direct',
      isolation: 'none',
      network: 'host',
      state: 'running',
    })
  })

  it('gives commands nothing of the client environment', async () => {
    process.env['H5_PLANTED_TOKEN'] = 'planted'
    try {
      const box = await place.open({ env: { GIVEN: 'yes' } })
      const { stdout } = await box.run(['env'])
      expect(stdout).toContain('GIVEN=yes\n')
      expect(stdout).not.toContain('planted')
    } finally {
      delete process.env['H5_PLANTED_TOKEN']
    }
  })

  it('takes a workspace as the workdir, and `/workspace` stands for it', async () => {
    const workspace = await mkdtemp(join(tmpdir(), 'anyplace-workspace-'))
    try {
      await mkdir(join(workspace, 'inner'))
      const box = await place.open({ workspace, workdir: '/workspace/inner' })
      expect((await box.run(['pwd'])).stdout).toBe(`${workspace}/inner\n`)
      await box.host.close()
      expect((await stat(workspace)).isDirectory()).toBe(true)
    } finally {
      await rm(workspace, { recursive: true })
    }
  })

  it.each<[string, SandboxSpec]>([
    ['image', { image: 'python:3.12-slim' }],
    ['mounts', { mounts: [{ source: '/etc', target: '/mnt/etc' }] }],
    ['cpuLimit', { cpuLimit: 1 }],
    ['memoryLimitMiB', { memoryLimitMiB: 100 }],
    ['pidsLimit', { pidsLimit: 10 }],
    ['network', { network: false }],
    ['user', { user: '12345' }],
    ['user', { user: 'nobody' }],
    ['cpu', { cpu: 100_000 }],
    ['memoryMiB', { memoryMiB: 1_000_000_000 }],
    ['gpu', { gpu: { type: 'H999' } }],
  ])('refuses %s, names it and the engine, and says what to use', async (field, spec) => {
    const before = await place.leftovers()
    await expect(place.engine.open(place.request(spec))).rejects.toMatchObject({
      code: 'unsupported',
      field,
      message: expect.stringContaining('direct engine'),
      hint: expect.stringMatching(/local\/|a node/),
    })
    expect(await place.leftovers()).toEqual(before)
  })

  it('takes its own user by number, whom commands run as anyway', async () => {
    const own = String(process.getuid?.())
    const box = await place.open({ user: own })
    expect((await box.run(['id', '-u'])).stdout.trim()).toBe(own)
  })

  it('refuses a workspace that does not exist', async () => {
    await expect(place.engine.open(place.request({ workspace: '/no/such/place' }))).rejects.toMatchObject({
      code: 'file-not-found',
      field: 'workspace',
    })
  })

  it('gives a name to one of many that ask at once', async () => {
    const attempts = await Promise.allSettled(Array.from({ length: 6 }, () => place.open({}, { name: 'one-of-many' })))
    const failures = attempts.flatMap((attempt) => (attempt.status === 'rejected' ? [attempt.reason] : []))
    expect(failures).toHaveLength(5)
    for (const failure of failures) expect(failure).toMatchObject({ code: 'conflict', field: 'name' })
    const host = await place.engine.attach('one-of-many')
    await host?.close()
    expect(await place.engine.attach('one-of-many')).toBeUndefined()
    await (await place.open({}, { name: 'one-of-many' })).host.close()
  })

  it('is found by name and id, and connected to again', async () => {
    const box = await place.open({}, { name: 'found-again', labels: { team: 'blue' } })
    const byName = await place.engine.attach('found-again')
    const byId = await place.engine.attach(box.host.id)
    expect([byName?.id, byId?.id]).toEqual([box.host.id, box.host.id])
    expect(await byName?.info()).toMatchObject({ labels: { team: 'blue' }, specDigest: 'digest' })
    await using channel = await byId!.connect()
    expect(channel.stdout.readableLength).toBeGreaterThan(0)
    expect(await place.engine.attach('no-such-name')).toBeUndefined()
    expect(await place.engine.attach('../../etc')).toBeUndefined()
  })

  it('close ends what runs and leaves nothing, also directories that forbid it', async () => {
    const before = await place.leftovers()
    const box = await place.open()
    await box.sh('mkdir -p a/b && touch a/b/c && chmod 000 a/b && chmod 500 a')
    const token = ownSeconds()
    const process = await box.session.spawn([
      '/bin/sh',
      '-c',
      `setsid sleep ${token} & setsid sleep ${token} & sleep ${token}`,
    ])
    await until(async () => (await sleepersOf(token)).length >= 3)
    await process.detach()
    await box.host.close()
    await box.host.close()
    expect(await sleepersOf(token)).toEqual([])
    expect(await place.leftovers()).toEqual(before)
    await expect(box.host.connect()).rejects.toMatchObject({ code: 'sandbox-gone' })
  })

  it.each([
    ['the supervisor', ['supervisor']],
    ['the daemon', ['daemon']],
    ['the supervisor and the daemon', ['supervisor', 'daemon']],
  ])('after kill -9 of %s it has ended, and removal leaves nothing', async (_name, victims) => {
    const before = await place.leftovers()
    const box = await place.open()
    const token = ownSeconds()
    await box.session.spawn(['/bin/sh', '-c', `setsid sleep ${token} & sleep ${token}`])
    await until(async () => (await sleepersOf(token)).length >= 2)
    const supervisor = await pidIn(`${box.directory}/run/supervisor.pid`)
    const children = await childrenOf(supervisor)
    const pids = { supervisor, daemon: children[0] ?? 0 }
    for (const victim of victims) process.kill(pids[victim as 'supervisor' | 'daemon'], 'SIGKILL')
    await until(async () => {
      for await (const info of place.engine.list()) if (info.id === box.host.id) return info.state === 'exited'
      return true
    })
    await expect(box.host.connect()).rejects.toMatchObject({ code: 'sandbox-gone' })
    await place.engine.remove(box.host.id)
    await until(async () => (await sleepersOf(token)).length === 0)
    expect(await place.leftovers()).toEqual(before)
  })

  it('ends by itself at its time and leaves nothing', async () => {
    const before = await place.leftovers()
    const box = await place.open({}, { lifetime: { timeoutMs: 2000, maxLifetimeMs: 2000 } })
    const token = ownSeconds()
    await box.session.spawn(['/bin/sh', '-c', `setsid sleep ${token} & sleep ${token}`])
    const end = (await box.host.info()).expiresAt?.getTime() ?? 0
    await until(async () => (await place.leftovers()).length === before.length)
    expect(Date.now()).toBeGreaterThan(end - 1000)
    expect(await sleepersOf(token)).toEqual([])
    await expect(box.host.info()).rejects.toMatchObject({ code: 'sandbox-gone' })
    expect(await place.engine.attach(box.host.id)).toBeUndefined()
  })

  it('undoes an open that is cancelled at any moment', async () => {
    const before = await place.leftovers()
    for (const waitMs of [0, 20, 40, 60, 80]) {
      const abort = new AbortController()
      const opening = place.engine.open(place.request({}, { signal: abort.signal })).then(
        (host) => host.close(),
        (error: unknown) => expect(error).toMatchObject({ code: 'cancelled' }),
      )
      setTimeout(() => abort.abort(), waitMs)
      await opening
    }
    expect(await place.leftovers()).toEqual(before)
  })
})

async function childrenOf(pid: number): Promise<readonly number[]> {
  const { readFile } = await import('node:fs/promises')
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')
  return text.trim().split(' ').filter(Boolean).map(Number)
}
