import { execFileSync } from 'node:child_process'
import { createPrivateKey } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, vi } from 'vitest'
import { copyKey } from '../../src/nodes/keys/copy-key.ts'
import { generateKey, getKey, openKey } from '../../src/nodes/keys/keys.ts'
import { listHosts, trustHost, untrustHost } from '../../src/nodes/hosts/hosts.ts'
import type { HostScan } from '../../src/nodes/hosts/hosts.ts'
import { addNode } from '../../src/nodes/registry/nodes.ts'
import { runtimeDirectory } from '../../src/providers/ssh/runtime-directory.ts'
import { startSshServer, sshTest as test } from '../support/ssh-server.ts'
import { addSshUser } from '../support/ssh-user.ts'

const { username } = userInfo()
let directory = ''

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'anyplace-test-'))
  vi.stubEnv('ANYPLACE_HOME', join(directory, 'state'))
  // The configuration of whoever runs the tests shall not matter, nor be changed.
  writeFileSync(
    join(directory, 'config'),
    `UserKnownHostsFile ${join(directory, 'user_known_hosts')}\nGlobalKnownHostsFile none\nIdentityFile none\nIdentityAgent none\n`,
  )
})
afterEach(() => {
  vi.unstubAllEnvs()
  rmSync(directory, { recursive: true, force: true })
})

async function addSshNode(name: string, port: number, more: object = {}): Promise<void> {
  await addNode(name, {
    type: 'ssh',
    host: '127.0.0.1',
    port,
    username,
    configFile: join(directory, 'config'),
    ...more,
  })
}

/** Lets everything in and remembers what was shown. */
function noted(): { readonly scans: HostScan[]; readonly confirm: (scan: HostScan) => boolean } {
  const scans: HostScan[] = []
  return { scans, confirm: (scan) => scans.push(scan) > 0 }
}

describe('trusting a host', () => {
  test('shows its keys as it has them, pins them, and does nothing the second time', async () => {
    await using server = await startSshServer({ hostKeyTypes: ['ed25519', 'ecdsa', 'rsa'] })
    await addSshNode('box', server.port)
    const { scans, confirm } = noted()
    const name = `[127.0.0.1]:${server.port}`
    const expected = [
      { type: 'ssh-ed25519', fingerprint: server.fingerprints['ed25519'] },
      { type: 'ecdsa-sha2-nistp256', fingerprint: server.fingerprints['ecdsa'] },
      { type: 'ssh-rsa', fingerprint: server.fingerprints['rsa'] },
    ]
    expect(await trustHost('box', { confirm })).toEqual({ host: name, added: expected })
    expect(scans).toEqual([{ host: name, keys: expected, pinned: [], knownToSsh: [] }])
    expect(await listHosts()).toEqual(expected.map((key) => ({ host: name, ...key })))
    expect(await trustHost('box', { confirm })).toEqual({ host: name, added: [] })
    expect(scans).toHaveLength(1)
    // Nothing of ours in the user's file, no user was named to the host.
    expect(existsSync(join(directory, 'user_known_hosts'))).toBe(false)
    expect(server.log()).not.toContain('Accepted')
    expect(await untrustHost('box')).toHaveLength(3)
    await expect(untrustHost('box')).rejects.toMatchObject({ code: 'not-found' })
    expect(await listHosts()).toEqual([])
  })

  test('asks nobody when the fingerprint is given, and pins that key only', async () => {
    await using server = await startSshServer()
    await addSshNode('box', server.port)
    const fingerprint = server.fingerprints['rsa'] ?? ''
    expect(await trustHost('box', { fingerprint })).toMatchObject({ added: [{ type: 'ssh-rsa', fingerprint }] })
    const other = `SHA256:${'A'.repeat(43)}`
    await expect(trustHost('box', { fingerprint: other })).rejects.toMatchObject({
      code: 'permission-denied',
      data: { cause: 'host-key-mismatch' },
    })
    await expect(trustHost('box', { fingerprint: 'MD5:aa:bb' })).rejects.toMatchObject({ field: 'fingerprint' })
    expect(await listHosts()).toHaveLength(1)
  })

  test('pins nothing when nobody confirms, or says no', async () => {
    await using server = await startSshServer()
    await addSshNode('box', server.port)
    await expect(trustHost('box')).rejects.toMatchObject({ code: 'invalid-argument', field: 'fingerprint' })
    await expect(trustHost('box', { confirm: () => false })).rejects.toMatchObject({ code: 'cancelled' })
    expect(await listHosts()).toEqual([])
  })

  test('a changed key is told with the old and the new one, and pinned only after a removal', async () => {
    await using server = await startSshServer({ hostKeyTypes: ['ed25519'] })
    await addSshNode('box', server.port)
    const confirm = (): boolean => true
    await trustHost('box', { confirm })
    const oldFingerprint = server.fingerprints['ed25519']
    await server.renewHostKeys()
    const newFingerprint = server.fingerprints['ed25519']
    const failure = trustHost('box', { confirm })
    await expect(failure).rejects.toMatchObject({
      code: 'permission-denied',
      hint: expect.stringContaining('anyplace hosts rm box') as string,
      data: { cause: 'host-key-changed', oldFingerprint, newFingerprint },
    })
    await expect(failure).rejects.toThrow(`it was ${oldFingerprint} and is now ${newFingerprint}`)
    await expect(trustHost('box', { fingerprint: newFingerprint })).rejects.toMatchObject({ code: 'permission-denied' })
    await untrustHost('box')
    expect(await trustHost('box', { fingerprint: newFingerprint })).toMatchObject({
      added: [{ fingerprint: newFingerprint }],
    })
  })

  test('a key that the user knows is told; another one there, or a revoked one, is refused', async () => {
    await using server = await startSshServer({ hostKeyTypes: ['ed25519'] })
    await addSshNode('box', server.port)
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(server.directory, 'other')])
    const [type, base64] = readFileSync(join(server.directory, 'host_ed25519.pub'), 'utf8').split(' ')
    const known = join(directory, 'user_known_hosts')
    writeFileSync(known, `[127.0.0.1]:${server.port} ${type} ${base64}\n`)
    execFileSync('ssh-keygen', ['-q', '-H', '-f', known], { stdio: 'ignore' })
    const { scans, confirm } = noted()
    await trustHost('box', { confirm })
    expect(scans[0]?.knownToSsh).toEqual([server.fingerprints['ed25519']])
    await untrustHost('box')
    const other = execFileSync('ssh-keygen', ['-yf', join(server.directory, 'other')], { encoding: 'utf8' })
    writeFileSync(known, `[127.0.0.1]:${server.port} ${other}`)
    await expect(trustHost('box', { confirm })).rejects.toMatchObject({
      hint: expect.stringContaining(`ssh-keygen -R '[127.0.0.1]:${server.port}'`) as string,
      data: { cause: 'host-key-changed', newFingerprint: server.fingerprints['ed25519'] },
    })
    await trustHost('box', { fingerprint: server.fingerprints['ed25519'] })
    await untrustHost('box')
    writeFileSync(known, `@revoked * ${type} ${base64}\n`)
    await expect(trustHost('box', { confirm })).rejects.toMatchObject({ data: { cause: 'host-key-revoked' } })
  })

  test('behind a jump host: the hop is verified first, and logged in to with the key of the node', async () => {
    await using hop = await startSshServer()
    await using target = await startSshServer({ hostKeyTypes: ['ed25519'] })
    const { publicKey } = await generateKey('work')
    writeFileSync(hop.authorizedKeysFile, `${publicKey}\n`)
    await addSshNode('hop', hop.port)
    await addSshNode('box', target.port, { key: 'work', jumpHosts: [`${username}@127.0.0.1:${hop.port}`] })
    const confirm = (): boolean => true
    await expect(trustHost('box', { confirm })).rejects.toMatchObject({
      message: expect.stringContaining(`[127.0.0.1]:${hop.port}, on the way to box`) as string,
      hint: expect.stringContaining(`anyplace hosts trust 127.0.0.1:${hop.port}`) as string,
      data: { cause: 'host-key-unknown' },
    })
    expect(hop.log()).not.toContain('Accepted')
    await trustHost('hop', { confirm })
    expect(await trustHost('box', { confirm })).toMatchObject({
      host: `[127.0.0.1]:${target.port}`,
      added: [{ fingerprint: target.fingerprints['ed25519'] }],
    })
    expect(hop.log()).toContain('Accepted publickey')
    expect(target.log()).not.toContain('Accepted')
  })

  test.each(['-oProxyCommand=id', '', 'a b', '@x', 'x:y', 'local', 'x:99999', '[x'])('%j is no host', async (name) => {
    await expect(trustHost(name, { confirm: () => true })).rejects.toMatchObject({ code: 'invalid-argument' })
  })

  test('a host that nobody answers for', async () => {
    const { port } = await startSshServer().then(async (server) => {
      await server[Symbol.asyncDispose]()
      return server
    })
    await expect(trustHost(`127.0.0.1:${port}`, { confirm: () => true })).rejects.toMatchObject({
      code: 'connection-lost',
    })
  })
})

describe('installing a key', () => {
  /** A server whose users have the home directory given. */
  async function withHome(config = '') {
    const home = join(directory, 'home')
    mkdirSync(home, { recursive: true, mode: 0o755 })
    const server = await startSshServer({
      config: `${config}\nSetEnv HOME=${home}\nAuthorizedKeysFile ${home}/.ssh/authorized_keys ${directory}/first_keys`,
    })
    await addSshNode('box', server.port)
    await trustHost('box', { confirm: () => true })
    return { home, server, file: join(home, '.ssh', 'authorized_keys') }
  }

  test('with another key: once, with the modes as they are, and it is accepted', async () => {
    const { home, server, file } = await withHome()
    await using _ = server
    const first = await generateKey('first')
    const work = await generateKey('work', { comment: `it's "work" $(id) !` })
    writeFileSync(join(directory, 'first_keys'), `${first.publicKey}\n`)
    mkdirSync(join(home, '.ssh'), { mode: 0o750 })
    writeFileSync(file, `# ${work.publicKey}\n${first.publicKey}`, { mode: 0o640 })
    chmodSync(file, 0o640)
    const copied = await copyKey('work', 'box', { with: 'first' })
    expect(copied).toEqual({ wasAdded: true, isAccepted: true })
    const text = `# ${work.publicKey}\n${first.publicKey}\n${work.publicKey}\n`
    expect(readFileSync(file, 'utf8')).toBe(text)
    expect(await copyKey('work', 'box', { with: 'first' })).toEqual({ wasAdded: false, isAccepted: true })
    expect(await copyKey('work', 'box', { with: 'work' })).toEqual({ wasAdded: false, isAccepted: true })
    expect(readFileSync(file, 'utf8')).toBe(text)
    expect(statSync(file).mode & 0o777).toBe(0o640)
    expect(statSync(join(home, '.ssh')).mode & 0o777).toBe(0o750)
  })

  test('while it logs in, no part of a private key is in a file, an argument or an environment', async () => {
    const { server } = await withHome()
    await using _ = server
    const first = await generateKey('first')
    await generateKey('work', { type: 'rsa' })
    writeFileSync(join(directory, 'first_keys'), `${first.publicKey}\n`)
    const secrets = (await Promise.all(['first', 'work'].map((name) => openKey(name)))).flatMap(({ pem }) => {
      const { d = '' } = createPrivateKey(pem).export({ format: 'jwk' })
      const bytes = Buffer.from(d, 'base64url')
      return [
        pem.split('\n')[1] ?? '',
        bytes.toString('latin1'),
        bytes.toString('base64').slice(0, 40),
        bytes.toString('hex'),
      ]
    })
    const runtime = await runtimeDirectory()
    let isDone = false
    let seen = ''
    const copying = copyKey('work', 'box', { with: 'first' }).finally(() => (isDone = true))
    while (!isDone) {
      const files = readdirSync(runtime, { recursive: true, encoding: 'utf8' }).filter((name) =>
        /\.|known_hosts/.test(name),
      )
      seen += allProcesses() + files.map((name) => tryRead(join(runtime, name))).join('\n')
      await delay(20)
    }
    await copying
    expect(seen).toContain('IdentityAgent')
    expect(seen).toContain(first.publicKey.split(' ')[1])
    for (const secret of secrets) expect(seen).not.toContain(secret)
  })

  test('a new file is private', async () => {
    const { home, server, file } = await withHome()
    await using _ = server
    writeFileSync(join(directory, 'first_keys'), `${(await generateKey('first')).publicKey}\n`)
    await generateKey('work')
    await copyKey('work', 'box', { with: 'first' })
    expect(readFileSync(file, 'utf8')).toBe(`${(await getKey('work')).publicKey}\n`)
    expect([statSync(file).mode & 0o777, statSync(join(home, '.ssh')).mode & 0o777]).toEqual([0o600, 0o700])
  })

  test('an unknown host key is refused before anything is sent, and a key that the host does not know by itself', async () => {
    const { server } = await withHome()
    await using _ = server
    await generateKey('first')
    await generateKey('work')
    await expect(copyKey('work', 'box', { with: 'first' })).rejects.toMatchObject({ data: { cause: 'key-refused' } })
    await expect(copyKey('work', 'box', { password: 'x' })).rejects.toMatchObject({
      code: 'permission-denied',
      data: { cause: 'no-password-login' },
    })
    await untrustHost('box')
    await expect(copyKey('work', 'box', { password: 'hunter2' })).rejects.toMatchObject({
      data: { cause: 'host-key-unknown' },
    })
    await expect(copyKey('nokey', 'box')).rejects.toMatchObject({ code: 'not-found' })
  })
})

// The password must belong to a user of this machine, and only root can make one.
describe.runIf(process.getuid?.() === 0)('installing a key with a password', () => {
  test('it is refused when it is wrong, and is seen by nobody when it is right', async () => {
    const home = join(directory, 'home')
    chmodSync(directory, 0o755)
    mkdirSync(join(directory, 'state'), { mode: 0o700 })
    mkdirSync(home, { mode: 0o755 })
    using user = addSshUser(home)
    execFileSync('chown', [user.name, home])
    await using server = await startSshServer({
      config: `PasswordAuthentication yes\nAuthorizedKeysFile ${home}/.ssh/authorized_keys`,
    })
    await addSshNode('box', server.port, { username: user.name })
    await trustHost('box', { confirm: () => true })
    await generateKey('work')
    const wrong = copyKey('work', 'box', { password: 'hunter2' })
    await expect(wrong).rejects.toMatchObject({
      code: 'permission-denied',
      field: 'password',
      data: { cause: 'password-refused' },
    })
    await expect(wrong).rejects.not.toThrow('hunter2')
    let isDone = false
    let seen = ''
    const copying = copyKey('work', 'box', { password: user.password }).finally(() => (isDone = true))
    while (!isDone) {
      seen += allProcesses()
      await delay(20)
    }
    expect(await copying).toEqual({ wasAdded: true, isAccepted: true })
    expect(seen).toContain('askpass')
    expect(seen).not.toContain(user.password)
    expect(seen).not.toContain(user.password.slice(-16))
    expect(readFileSync(join(home, '.ssh', 'authorized_keys'), 'utf8')).toBe(`${(await getKey('work')).publicKey}\n`)
    await expect(copyKey('work', 'box', { password: 'a\nb' })).rejects.toMatchObject({ code: 'invalid-argument' })
  })
})

/** Every argument and environment variable of every process, but our own. */
function allProcesses(): string {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .map((pid) => ['cmdline', 'environ'].map((file) => tryRead(`/proc/${pid}/${file}`)).join(' '))
    .join('\n')
}

function tryRead(path: string): string {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return ''
  }
}

test('nothing is left in the runtime directory', () => {
  const left = readdirSync('/tmp').filter((name) => name.startsWith('anyplace-ssh-'))
  for (const name of left) {
    const inside = readdirSync(join('/tmp', name)).filter((entry) => /^(ask|scan)-|\.conf$|\.pub$/.test(entry))
    expect(inside.filter((entry) => entry.includes(`${process.pid.toString(36)}-`))).toEqual([])
  }
})
