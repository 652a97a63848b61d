import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { createConnection, createServer } from 'node:net'
import { networkInterfaces } from 'node:os'
import type { Duplex } from 'node:stream'
import { drain, failsWith } from '../expectations.ts'
import type { TestedSandbox } from '../target.ts'
import { verifies } from '../verifies.ts'

/** Answers every connection with what it got, upside down at the end: it proves both directions and the half-close. */
const ECHO = `
import socket, threading
server = socket.create_server(('127.0.0.1', 0))
print(server.getsockname()[1], flush=True)
def serve(one):
    total = 0
    with one:
        while True:
            data = one.recv(65536)
            if not data: break
            total += len(data)
            one.sendall(data)
        one.sendall(b'end %d' % total)
while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
`

async function echoServer(box: TestedSandbox): Promise<{ readonly port: number; end(): Promise<void> }> {
  const process = await box.spawn(['python3', '-c', ECHO])
  const first = await process.lines()[Symbol.asyncIterator]().next()
  return { port: Number(first.value?.text), end: () => process.kill() }
}

async function exchange(stream: Duplex, bytes: Uint8Array): Promise<void> {
  stream.end(bytes)
  const back = await drain(stream)
  assert.equal(back.subarray(bytes.byteLength).toString(), `end ${bytes.byteLength}`)
  const hash = (part: Uint8Array): string => createHash('sha256').update(part).digest('hex')
  assert.equal(hash(back.subarray(0, bytes.byteLength)), hash(bytes))
}

verifies('tunnels:connect', async ({ box }) => {
  const sandbox = await box()
  const server = await echoServer(sandbox)
  await exchange(await sandbox.connect(server.port), randomBytes(3 * 1024 * 1024))
  await Promise.all(
    Array.from({ length: 20 }, async () => exchange(await sandbox.connect(server.port), randomBytes(1000))),
  )
  await server.end()
})

verifies('tunnels:forward', async ({ box }) => {
  const sandbox = await box()
  const server = await echoServer(sandbox)
  const forward = await sandbox.forward(server.port)
  for (let round = 0; round < 3; round += 1)
    await exchange(
      createConnection({ port: forward.localPort, host: '127.0.0.1', allowHalfOpen: true }),
      randomBytes(50_000),
    )
  const outside = Object.values(networkInterfaces())
    .flat()
    .find((one) => one !== undefined && one.family === 'IPv4' && !one.internal)
  if (outside !== undefined)
    await assert.rejects(reach(forward.localPort, outside.address), 'the port is open to the network')
  const taken = createServer()
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve))
  const { port } = taken.address() as { port: number }
  await failsWith(
    sandbox.forward(server.port, { localPort: port }),
    'already-exists',
    'conflict',
    'invalid-argument',
    'resource-exhausted',
  )
  taken.close()
  await forward.close()
  await assert.rejects(reach(forward.localPort, '127.0.0.1'), 'the port is still open')
  await server.end()
})

function reach(port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ port, host, timeout: 2000 }, () => {
      socket.destroy()
      resolve()
    })
    socket.on('error', reject)
    socket.on('timeout', () => socket.destroy(new Error('no answer')))
  })
}

verifies('tunnels:network-off', async ({ open }) => {
  const sandbox = await open({ network: false })
  const server = await echoServer(sandbox)
  await exchange(await sandbox.connect(server.port), randomBytes(100_000))
})

verifies('tunnels:nothing-listens', async ({ box }) => {
  const failure = await failsWith((await box()).connect(1), 'connection-lost')
  assert.match(failure.message, /\b1\b/)
})

verifies('tunnels:wrong-port', async ({ box }) => {
  const sandbox = await box()
  for (const port of [0, -1, 65_536, 1.5, Number.NaN]) await failsWith(sandbox.connect(port), 'invalid-argument')
  await failsWith(sandbox.forward(0), 'invalid-argument')
})
