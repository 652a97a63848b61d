import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ProfileInput } from '../../src/index.ts'
import { addNode, attach, list, open, remove } from '../../src/index.ts'
import { stateDirectory } from '../../src/store/index.ts'
import { chaosTargets } from '../chaos/targets.ts'
import { sshLabNode } from '../conformance/ssh-target.ts'
import { SLOT_SECCOMP_PROFILE } from './seccomp-profile.ts'
import { sshLabProblem } from './ssh-lab.ts'

const WITH_NAMESPACES = ' with namespaces'

/** An engine that can hold slots, and what a profile of it needs. */
export interface PoolPlace {
  readonly name: string
  readonly profile: ProfileInput
  /** Names of the sandboxes that are there and begin so. */
  sandboxes(prefix: string): Promise<readonly string[]>
  /** Ends a sandbox with SIGKILL, behind everybody's back. */
  kill(name: string): Promise<void>
}

/**
 * The engines that answer now and can hold slots; with `more` those of the lab's host too, and Docker with slots of level
 * `namespace`. Those that ANYPLACE_EXPECT names must answer; `direct` never can.
 */
export async function poolPlaces(options: { readonly more?: boolean } = {}): Promise<readonly PoolPlace[]> {
  const places: PoolPlace[] = []
  const expected = (process.env['ANYPLACE_EXPECT'] ?? '').split(',')
  let workspace = ''
  const targets: { readonly name: string; readonly on: string; readonly more?: ProfileInput }[] = [
    ...(await chaosTargets()),
  ]
  if (options.more === true) {
    const node = await sshLabNode()
    workspace = node.workspace
    for (const engine of ['namespace', 'docker'] as const) {
      const problem =
        sshLabProblem() ??
        node.findings.find(({ subject, status }) => subject === engine && status === 'unavailable')?.message
      if (problem === undefined) targets.push({ name: `ssh-${engine}`, on: `lab/${engine}` })
      else if (expected.includes(`ssh-${engine}`)) throw new Error(`ANYPLACE_EXPECT names ssh-${engine}: ${problem}`)
    }
    if (targets.some(({ name }) => name === 'docker')) {
      const slotSeccompProfile = join(stateDirectory(), 'slots.json')
      writeFileSync(slotSeccompProfile, JSON.stringify(SLOT_SECCOMP_PROFILE))
      await addNode('boxed', { type: 'local', engine: 'docker', slotSeccompProfile })
      targets.push({ name: `docker${WITH_NAMESPACES}`, on: 'boxed', more: { isolation: 'namespace' } })
    }
  }
  for (const { name, on, more } of targets) {
    if (name === 'direct') continue
    try {
      await (await open({ on, slots: 1, timeoutMs: 60_000 })).close()
    } catch (error) {
      if (expected.includes(name.replace(WITH_NAMESPACES, ''))) throw error
      process.stderr.write(`pools: ${name} cannot hold slots here: ${String(error)}\n`)
      continue
    }
    const image: ProfileInput = name.endsWith('namespace') ? {} : { image: 'python:3.12-slim' }
    const common: ProfileInput = { on, cpu: 0.1, memoryMiB: 64, createPerSecond: 50, maxLifetimeMs: 300_000 }
    const profile: ProfileInput = { ...image, ...common, ...more }
    const sandboxes = async (prefix: string): Promise<readonly string[]> => {
      const names: string[] = []
      for await (const info of list({ on })) if (info.name.startsWith(prefix)) names.push(info.name)
      return names
    }
    const kill = async (sandbox: string): Promise<void> => {
      if (!name.endsWith('namespace')) {
        const engine = name.endsWith('podman') ? process.env['CONTAINER_HOST'] : process.env['DOCKER_HOST']
        const host = engine === undefined ? [] : ['-H', engine]
        execFileSync('docker', [...host, 'kill', '-s', 'KILL', `anyplace-${sandbox}`])
        return
      }
      const box = await attach(sandbox, { on })
      await box.detach()
      const file = [stateDirectory(), workspace]
        .map((directory) => `${directory}/sandboxes/${box.id}/run/supervisor.pid`)
        .find((path) => existsSync(path))
      process.kill(Number.parseInt(readFileSync(file ?? '', 'utf8'), 10), 'SIGKILL')
    }
    places.push({ name, profile, sandboxes, kill })
  }
  return places
}

/** Removes what a test left. */
export async function removeSandboxes(place: PoolPlace, prefix: string): Promise<void> {
  const on = place.profile.on
  for (const name of await place.sandboxes(prefix)) {
    await remove(name, on === undefined ? {} : { on }).catch(() => undefined)
  }
}
