import { execFile, execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect } from 'vitest'
import { startSshServer, sshTest as test } from '../support/ssh-server.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

test('examples/ssh.ts runs against a host: from a new key to a command there', { timeout: 120_000 }, async () => {
  const directory = mkdtempSync(join(tmpdir(), 'anyplace-example-'))
  try {
    const home = join(directory, 'home')
    mkdirSync(home, { mode: 0o700 })
    const oldKey = join(directory, 'old')
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', oldKey])
    await using server = await startSshServer({
      config: `SetEnv HOME=${home}\nAuthorizedKeysFile ${home}/.ssh/authorized_keys ${directory}/old.pub`,
    })
    const { stdout, stderr } = await promisify(execFile)(
      process.execPath,
      [
        join(root, 'node_modules/tsx/dist/cli.mjs'),
        '--tsconfig',
        join(root, 'tsconfig.json'),
        join(root, 'examples/ssh.ts'),
      ],
      {
        cwd: directory,
        env: {
          ...process.env,
          ANYPLACE_HOME: join(directory, 'state'),
          EXAMPLE_HOST: '127.0.0.1',
          EXAMPLE_PORT: String(server.port),
          EXAMPLE_USER: userInfo().username,
          EXAMPLE_FINGERPRINT: server.fingerprints['ed25519'],
          EXAMPLE_OLD_KEY: oldKey,
        },
      },
    )
    expect(stderr).toBe('')
    expect(stdout).toContain('\nkey ok work (SHA256:')
    expect(stdout).toContain('\nok\nLinux\nhost-key-mismatch\nlocal true undefined\ngpu-box false ok\n')
    const [line] = stdout.split(' SHA256:')
    expect(readFileSync(join(home, '.ssh/authorized_keys'), 'utf8')).toBe(`${line}\n`)
    expect(server.log()).toContain('Accepted publickey')
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
})
