import { execFile, execFileSync } from 'node:child_process'
import { generateKeyPairSync, verify } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, utimesSync } from 'node:fs'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import fc from 'fast-check'
import { expect, test, vi } from 'vitest'
import { servePrivateAgent } from './private-agent.ts'
import { runtimeDirectory } from './runtime-directory.ts'
import type { PrivateKey } from './ssh-target.ts'
import { WireReader, wireInteger, wireString, wireUint32 } from './ssh-wire.ts'

const run = promisify(execFile)

interface TestKey extends PrivateKey {
  readonly publicKey: KeyObject
}

function ed25519(comment = 'one'): TestKey {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const raw = publicKey.export({ type: 'spki', format: 'der' }).subarray(-32)
  return keyOf(
    'ssh-ed25519',
    Buffer.concat([wireString('ssh-ed25519'), wireString(raw)]),
    comment,
    privateKey,
    publicKey,
  )
}

function rsa(comment = 'two'): TestKey {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const { e = '', n = '' } = publicKey.export({ format: 'jwk' })
  const numbers = [e, n].map((text) => wireInteger(Buffer.from(text, 'base64url')))
  return keyOf('ssh-rsa', Buffer.concat([wireString('ssh-rsa'), ...numbers]), comment, privateKey, publicKey)
}

function keyOf(
  type: string,
  publicBlob: Buffer,
  comment: string,
  privateKey: KeyObject,
  publicKey: KeyObject,
): TestKey {
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  const line = `${type} ${publicBlob.toString('base64')}\n`
  const fingerprint = execFileSync('ssh-keygen', ['-lf', '-'], { input: line, encoding: 'utf8' }).split(' ')[1] ?? ''
  return { type, publicBlob, comment, pem, fingerprint, publicKey }
}

/** Says bytes to the agent and gives what it answers; undefined when it hangs up without one. */
async function ask(path: string, bytes: Uint8Array): Promise<Buffer | undefined> {
  const socket = connect(path)
  socket.on('error', () => undefined)
  socket.write(bytes)
  try {
    return await nextReply(socket)
  } finally {
    socket.destroy()
  }
}

async function nextReply(socket: Socket): Promise<Buffer | undefined> {
  let all = Buffer.alloc(0)
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    all = Buffer.concat([all, chunk])
    if (all.length >= 4 && all.length >= 4 + all.readUInt32BE()) return all.subarray(4)
  }
  return undefined
}

function message(...parts: readonly Uint8Array[]): Buffer {
  return wireString(Buffer.concat(parts))
}

function login(key: TestKey, algorithm = key.type): Buffer {
  return Buffer.concat([
    wireString('session'),
    Buffer.from([50]),
    ...['root', 'ssh-connection', 'publickey'].map(wireString),
    Buffer.from([1]),
    wireString(algorithm),
    wireString(key.publicBlob),
  ])
}

function signRequest(key: TestKey, data: Uint8Array, flags: number): Buffer {
  return message(Buffer.from([13]), wireString(key.publicBlob), wireString(data), wireUint32(flags))
}

const FAILURE = Buffer.from([5])

test('ssh-add lists its keys with fingerprints and comments', async () => {
  const keys = [ed25519('my key'), rsa('käy')]
  await using agent = await servePrivateAgent(keys)
  const { stdout } = await run('ssh-add', ['-l'], { env: { ...process.env, SSH_AUTH_SOCK: agent.socketPath } })
  expect(stdout).toBe(`256 ${keys[0]?.fingerprint} my key (ED25519)\n2048 ${keys[1]?.fingerprint} käy (RSA)\n`)
})

test('only its owner can reach it, and closing removes it', async () => {
  const agent = await servePrivateAgent([ed25519()])
  const directory = dirname(agent.socketPath)
  expect(statSync(directory).mode & 0o777).toBe(0o700)
  expect(statSync(agent.socketPath).mode & 0o777).toBe(0o600)
  expect(readdirSync(directory)).toEqual(['agent'])
  const socket = connect(agent.socketPath)
  await new Promise((resolve) => socket.once('connect', resolve))
  const hungUp = new Promise((resolve) => socket.on('error', () => undefined).once('close', resolve))
  await Promise.all([agent.close(), agent.close()])
  await hungUp
  expect(existsSync(directory)).toBe(false)
  expect(process.listeners('exit').map(({ name }) => name)).not.toContain('removeAll')
})

test('an abort closes it; one that came before opens nothing', async () => {
  const stop = new AbortController()
  const agent = await servePrivateAgent([ed25519()], { signal: stop.signal })
  stop.abort()
  await agent.close()
  expect(existsSync(dirname(agent.socketPath))).toBe(false)
  await expect(servePrivateAgent([], { signal: stop.signal })).rejects.toMatchObject({ code: 'cancelled' })
})

test.each([
  ['ssh-ed25519', ed25519(), 0, 'ssh-ed25519', null],
  ['rsa-sha2-256', rsa(), 2, 'rsa-sha2-256', 'sha256'],
  ['rsa-sha2-512', rsa(), 4, 'rsa-sha2-512', 'sha512'],
] as const)('signs a login with %s', async (_, key, flags, name, digest) => {
  await using agent = await servePrivateAgent([ed25519(), key])
  const reply = await ask(agent.socketPath, signRequest(key, login(key, name), flags))
  const outer = new WireReader(reply!)
  expect(outer.byte()).toBe(14)
  const inner = new WireReader(outer.string())
  expect(inner.text()).toBe(name)
  expect(verify(digest, login(key, name), key.publicKey, inner.string())).toBe(true)
})

test('refuses SHA-1, unknown keys, unknown flags, and whatever is no login with that key', async () => {
  const own = ed25519()
  const rsaKey = rsa()
  const foreign = ed25519()
  await using agent = await servePrivateAgent([own, rsaKey])
  const ok = login(own)
  const refused = [
    signRequest(rsaKey, login(rsaKey), 0),
    signRequest(foreign, login(foreign), 0),
    signRequest(own, ok, 2),
    signRequest(own, login(foreign), 0),
    signRequest(own, Buffer.from('SSHSIG and a file'), 0),
    signRequest(own, Buffer.concat([ok, Buffer.from([0])]), 0),
    signRequest(own, ok.subarray(0, -1), 0),
    message(Buffer.from([13]), wireString(own.publicBlob), wireString(ok)),
    message(Buffer.from([13]), wireString(own.publicBlob), wireString(ok), wireUint32(0), Buffer.from([0])),
  ]
  for (const request of refused) expect(await ask(agent.socketPath, request)).toEqual(FAILURE)
  expect((await ask(agent.socketPath, signRequest(own, ok, 0)))?.[0]).toBe(14)
})

test('answers every other message with FAILURE', async () => {
  await using agent = await servePrivateAgent([ed25519()])
  for (let type = 0; type < 256; type++) {
    if (type === 11) continue
    expect(await ask(agent.socketPath, message(Buffer.from([type])))).toEqual(FAILURE)
  }
  expect(await ask(agent.socketPath, message(Buffer.from([11, 0])))).toEqual(FAILURE)
})

test('hangs up on a length that no message has, and serves the next client', async () => {
  await using agent = await servePrivateAgent([ed25519()])
  for (const length of [0, 256 * 1024 + 1, 0xffff_ffff]) {
    expect(await ask(agent.socketPath, Buffer.concat([wireUint32(length), Buffer.alloc(9)]))).toBeUndefined()
  }
  expect((await ask(agent.socketPath, message(Buffer.from([11]))))?.[0]).toBe(12)
})

test('reads messages however they are cut, and lets no bytes confuse it', async () => {
  const key = ed25519()
  await using agent = await servePrivateAgent([key])
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 300 }), fc.nat(300), async (body, cut) => {
      fc.pre(body[0] !== 11)
      const socket = connect(agent.socketPath)
      const bytes = Buffer.concat([message(body), message(Buffer.from([11]))])
      socket.write(bytes.subarray(0, cut))
      socket.write(bytes.subarray(cut))
      let all = Buffer.alloc(0)
      for await (const chunk of socket as AsyncIterable<Buffer>) {
        all = Buffer.concat([all, chunk])
        if (all.length > 9 && all.length >= 9 + all.readUInt32BE(5)) break
      }
      expect(all.subarray(0, 5)).toEqual(wireString(FAILURE))
      expect(all[9]).toBe(12)
      socket.destroy()
    }),
    { numRuns: 50 },
  )
})

test('a key that it cannot use is refused, without a word of it in the error', async () => {
  const key = ed25519()
  for (const bad of [
    { ...key, pem: 'not a key: hunter2' },
    { ...key, type: 'ssh-dss' },
    { ...key, type: 'ssh-rsa' },
  ]) {
    const failure = servePrivateAgent([bad])
    await expect(failure).rejects.toMatchObject({ code: 'unsupported' })
    await expect(failure).rejects.not.toThrow('hunter2')
  }
})

test('what a killed process left a day ago is removed; what is younger, or a control socket, stays', async () => {
  const runtime = mkdtempSync(join(tmpdir(), 'anyplace-run-'))
  vi.stubEnv('XDG_RUNTIME_DIR', runtime)
  try {
    const directory = await runtimeDirectory()
    expect(dirname(directory)).toBe(runtime)
    const old = new Date(Date.now() - 25 * 3600 * 1000)
    for (const name of ['agent-old', 'ask-old', 'scan-old', 'x.conf', 'x.pub', 'abcdef', 'agent-new']) {
      mkdirSync(join(directory, name))
      if (name !== 'agent-new') utimesSync(join(directory, name), old, old)
    }
    await using agent = await servePrivateAgent([ed25519()])
    const own = basename(dirname(agent.socketPath))
    expect(new Set(readdirSync(directory))).toEqual(new Set(['abcdef', 'agent-new', own]))
  } finally {
    vi.unstubAllEnvs()
    rmSync(runtime, { recursive: true, force: true })
  }
})
