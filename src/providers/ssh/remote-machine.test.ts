import { afterEach, expect, test } from 'vitest'
import { HostileDaemon } from '../../../test/fixtures/hostile-daemon.ts'
import { openConnection } from '../../execd/open-connection.ts'
import type { DaemonConnection } from '../../execd/connection.ts'
import { collectBytes } from '../../kit/collect.ts'
import type { Channel } from '../../spec/index.ts'
import type { HostLink } from './host-link.ts'
import { remoteMachine } from './remote-machine.ts'

let daemon: HostileDaemon
let connection: DaemonConnection
/** What is in use is what keeps the program running. */
let uses = 0
afterEach(() => connection.close())

async function started(): Promise<{ channel: Channel; id: number; stdout: number }> {
  daemon = new HostileDaemon()
  daemon.greet()
  connection = await openConnection(daemon.channel)
  uses = 0
  const use = (): (() => void) => {
    let isUsed = true
    uses++
    return () => {
      if (isUsed) uses--
      isUsed = false
    }
  }
  const link = { connection, facts: { python: { path: '/usr/bin/python3' } }, use }
  const starting = remoteMachine('far', () => Promise.resolve(link as unknown as HostLink)).run(['x'])
  const { id, request } = await daemon.nextRequest()
  daemon.respond(id, { processId: 'p1', pid: 42 })
  return { channel: await starting, id, stdout: request['stdout'] as number }
}

test('a process keeps the program running until all its output has come, which may be after its exit', async () => {
  const { channel, id, stdout } = await started()
  daemon.exit(id, { stdoutBytes: 3 })
  expect(await channel.exit).toEqual({ exitCode: 0, signal: null })
  expect(uses).toBe(1)
  const reading = collectBytes(channel.stdout, { maxBytes: 10 })
  daemon.data(stdout, 0, 'abc')
  expect(Buffer.from(await reading).toString()).toBe('abc')
  await expect.poll(() => uses).toBe(0)
})

test('a channel that is closed keeps the program running until it is closed', async () => {
  const { channel, id } = await started()
  const closing = channel.close()
  const kill = await daemon.nextRequest()
  expect(kill.request.op).toBe('kill')
  daemon.exit(id, { exitCode: 137, signal: 'SIGKILL' })
  await channel.exit
  await new Promise((resolve) => setImmediate(resolve))
  expect(uses).toBe(1)
  daemon.respond(kill.id, {})
  await closing
  expect(uses).toBe(0)
})
