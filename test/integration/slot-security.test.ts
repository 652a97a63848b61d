import { randomBytes } from 'node:crypto'
import process from 'node:process'
import { expect, test } from 'vitest'
import { openDaemonSession } from '../../src/execd/session.ts'
import { connectEngine } from '../../src/engines/docker/connection.ts'
import { dockerEngine } from '../../src/engines/docker/docker-engine.ts'
import { localMachine } from '../../src/providers/local/local-machine.ts'
import type { Engine, Host, OpenRequest, SandboxSpec } from '../../src/spec/index.ts'
import { SLOT_SECCOMP_PROFILE } from '../support/seccomp-profile.ts'

const machine = localMachine()

for (const kind of ['docker', 'podman'] as const) {
  const { status, message } = await dockerEngine(machine, { kind }).check()
  if (status === 'unavailable' && !(process.env['ANYPLACE_EXPECT'] ?? '').split(',').includes(kind)) {
    test.skip(`${kind}: NOT TESTED, ${message}`, () => {})
    continue
  }
  test(
    `${kind}: a seccomp profile for slots: only where there are slots, in force, and told when it is not enough`,
    { timeout: 60_000 },
    async () => {
      const asked: string[] = []
      const withProfile = (profile: object): Engine =>
        dockerEngine(machine, {
          kind,
          slotSecurity: () => {
            asked.push(kind)
            return Promise.resolve({ seccompProfile: JSON.stringify(profile), appArmorProfile: 'unconfined' })
          },
        })
      const image = 'python:3.12-slim'
      const configOf = async (host: Host): Promise<Record<string, unknown>> => {
        const { api } = await connectEngine(machine, kind, {})
        const inspected = await api.json('GET', `/containers/anyplace-${host.name}/json`)
        return (inspected as { HostConfig: Record<string, unknown> }).HostConfig
      }
      const slotsRefused = async (host: Host): Promise<unknown> => {
        const session = await openDaemonSession(await host.connect())
        try {
          return (await session.slots!.info()).refused
        } finally {
          await session.close()
        }
      }
      {
        await using host = await withProfile(SLOT_SECCOMP_PROFILE).open(request({ image }))
        expect(asked).toEqual([])
        expect(String((await configOf(host))['SecurityOpt'])).not.toContain('seccomp')
        expect(await slotsRefused(host)).toMatchObject({ user: undefined, namespace: expect.any(String) })
      }
      const opening = withProfile(SLOT_SECCOMP_PROFILE).open(request({ image, slots: 1 }))
      if (kind === 'podman') {
        await expect(opening).rejects.toMatchObject({ code: 'unsupported', field: 'slots' })
        return
      }
      {
        await using host = await opening
        const config = await configOf(host)
        expect(config['SecurityOpt']).toEqual([
          'no-new-privileges',
          `seccomp=${JSON.stringify(SLOT_SECCOMP_PROFILE)}`,
          'apparmor=unconfined',
        ])
        expect(config['MaskedPaths']).toEqual([])
        expect(await slotsRefused(host)).toEqual({ user: undefined, namespace: undefined })
      }
      const { defaultAction, syscalls } = SLOT_SECCOMP_PROFILE
      const strict = { defaultAction, syscalls: [...syscalls, { names: ['mount'], action: 'SCMP_ACT_ERRNO' }] }
      await using host = await withProfile(strict).open(request({ image, slots: 1 }))
      const why = 'a private /tmp and process view could not be made there: /: Operation not permitted'
      expect(await slotsRefused(host)).toEqual({ user: undefined, namespace: why })
    },
  )
}

function request(spec: SandboxSpec): OpenRequest {
  const id = `test${randomBytes(8).toString('hex')}`
  const lifetime = { timeoutMs: 120_000, maxLifetimeMs: 120_000 }
  return { id, name: id, spec, lifetime, labels: {}, owner: undefined, specDigest: 'digest' }
}
