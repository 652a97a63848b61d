import { createConnection, createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { expect, test } from 'vitest'
import { FakeProvider, openFakeSession } from '../../test/fixtures/fake-provider.ts'
import { openSandbox } from './open-sandbox.ts'

async function box() {
  return openSandbox({ provider: new FakeProvider(), openSession: openFakeSession })
}

test('carries several connections both ways with half-close, until closed', async () => {
  await using sandbox = await box()
  const forward = await sandbox.forward(80)
  for (const word of ['one', 'two']) {
    const socket = createConnection({ port: forward.localPort, host: '127.0.0.1', allowHalfOpen: true })
    socket.end(word)
    expect(await text(socket)).toBe(word)
  }
  const open = createConnection({ port: forward.localPort, host: '127.0.0.1' })
  await new Promise((resolve) => open.once('connect', resolve))
  const closed = new Promise((resolve) => open.once('close', resolve))
  open.on('error', () => undefined)
  await Promise.all([forward.close(), forward.close()])
  await closed
  const refused = createConnection({ port: forward.localPort, host: '127.0.0.1' })
  await expect(
    new Promise((resolve, reject) => refused.once('connect', resolve).once('error', reject)),
  ).rejects.toThrow('ECONNREFUSED')
})

test('a taken port, and ports that are none', async () => {
  await using sandbox = await box()
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as AddressInfo
  await expect(sandbox.forward(80, { localPort: port })).rejects.toMatchObject({
    code: 'already-exists',
    data: { localPort: port },
  })
  server.close()
  for (const wrong of [0, -1, 65_536, 1.5, Number.NaN]) {
    await expect(sandbox.forward(wrong)).rejects.toMatchObject({ code: 'invalid-argument', field: 'remotePort' })
  }
})

test('closing the sandbox closes its forwards', async () => {
  const sandbox = await box()
  const { localPort } = await sandbox.forward(80)
  await sandbox.close()
  const refused = createConnection({ port: localPort, host: '127.0.0.1' })
  await expect(
    new Promise((resolve, reject) => refused.once('connect', resolve).once('error', reject)),
  ).rejects.toThrow('ECONNREFUSED')
})
