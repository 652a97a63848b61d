import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { afterAll, describe, expect, test } from 'vitest'
import type { Owner } from '../spec/index.ts'
import { ownerState, thisProcess } from './owner.ts'

const child = spawn('sleep', ['100'], { stdio: 'ignore' })
afterAll(() => child.kill('SIGKILL'))

describe.skipIf(process.platform !== 'linux')('ownerState', () => {
  test('this process lives and is the same twice', async () => {
    const owner = await thisProcess()
    expect(owner).toEqual(await thisProcess())
    expect(owner.pid).toBe(process.pid)
    expect(owner.startTime).toMatch(/^\d+$/)
    expect(await ownerState(owner)).toBe('alive')
  })

  test('another process lives until it is killed; a zombie is dead', async () => {
    const owner = { ...(await thisProcess()), pid: child.pid as number, startTime: startTime(child.pid as number) }
    expect(await ownerState(owner)).toBe('alive')
    child.kill('SIGKILL')
    // The shell neither waits for its child nor ends, so the child stays a zombie.
    const parent = spawn('sh', ['-c', 'sleep 0.01 & echo $!; exec sleep 100'], { stdio: ['ignore', 'pipe', 'ignore'] })
    const [text] = (await once(parent.stdout, 'data')) as [Buffer]
    const zombie = Number(text.toString())
    const start = startTime(zombie)
    while (!readFileSync(`/proc/${zombie}/stat`, 'latin1').includes(') Z '))
      await new Promise((resolve) => setTimeout(resolve, 5))
    expect(await ownerState({ ...owner, pid: zombie, startTime: start })).toBe('dead')
    parent.kill('SIGKILL')
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
    expect(await ownerState(owner)).toBe('dead')
  })

  test('a pid that was given to another process is dead', async () => {
    expect(await ownerState({ ...(await thisProcess()), startTime: '1' })).toBe('dead')
  })

  test.each<Partial<Owner>>([
    { hostname: 'elsewhere' },
    { bootId: 'another-boot' },
    { pidNamespace: '1' },
    { startTime: '' },
    { pid: 0 },
    { pid: Number.NaN },
  ])('unknown when %j, even if the pid is gone', async (other) => {
    expect(await ownerState({ ...(await thisProcess()), pid: 2 ** 22 + 1, ...other })).toBe('unknown')
  })
})

function startTime(pid: number): string {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] as string
}
