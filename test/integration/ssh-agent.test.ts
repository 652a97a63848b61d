import { execFile, execFileSync } from 'node:child_process'
import { createPrivateKey } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, expect } from 'vitest'
import { servePrivateAgent } from '../../src/providers/ssh/private-agent.ts'
import type { PrivateKey } from '../../src/providers/ssh/ssh-target.ts'
import { publicLine, startSshServer, sshTest as test } from '../support/ssh-server.ts'

const run = promisify(execFile)
let directory = ''

beforeEach(() => void (directory = mkdtempSync(join(tmpdir(), 'anyplace-test-'))))
afterEach(() => rmSync(directory, { recursive: true, force: true }))

/** A key as ssh-keygen makes it, in the PEM form that node reads. */
function makeKey(type: 'ed25519' | 'rsa'): PrivateKey & { readonly line: string } {
  const path = join(directory, type)
  execFileSync('ssh-keygen', ['-q', '-t', type, '-N', '', '-C', type, '-f', path, '-m', 'PKCS8'])
  const line = publicLine(path)
  const [name = '', base64 = ''] = line.split(' ')
  const pem =
    type === 'rsa'
      ? createPrivateKey(readFileSync(path)).export({ type: 'pkcs8', format: 'pem' }).toString()
      : ed25519Pem(readFileSync(path, 'utf8'))
  rmSync(path)
  return { type: name, publicBlob: Buffer.from(base64, 'base64'), comment: type, fingerprint: 'SHA256:x', pem, line }
}

/** ssh-keygen writes Ed25519 keys in its own format only; the seed stands behind the second public key. */
function ed25519Pem(text: string): string {
  const bytes = Buffer.from(text.replace(/-----[^-]+-----|\s/g, ''), 'base64')
  const publicKey = bytes.subarray(bytes.indexOf('ssh-ed25519') + 15, bytes.indexOf('ssh-ed25519') + 47)
  const at = bytes.lastIndexOf(publicKey)
  const der = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), bytes.subarray(at - 32, at)])
  return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
    .export({ type: 'pkcs8', format: 'pem' })
    .toString()
}

test.each(['ed25519', 'rsa'] as const)('OpenSSH logs in with an %s key that only we hold', async (type) => {
  const key = makeKey(type)
  await using server = await startSshServer()
  writeFileSync(server.authorizedKeysFile, key.line)
  await using agent = await servePrivateAgent([key])
  const login = run('ssh', [
    '-F',
    'none',
    '-o',
    'BatchMode=yes',
    '-o',
    'StrictHostKeyChecking=no',
    '-o',
    'UserKnownHostsFile=/dev/null',
    '-o',
    `IdentityAgent=${agent.socketPath}`,
    '-p',
    String(server.port),
    '-l',
    userInfo().username,
    '127.0.0.1',
    'echo',
    'in',
  ])
  expect((await login).stdout).toBe('in\n')
})
