import { expect, test, vi } from 'vitest'
import { sshEnvironment } from './ssh-program.ts'

test('ssh gets the environment of the user, without the key of the vault', () => {
  vi.stubEnv('ANYPLACE_VAULT_KEY', 'a')
  vi.stubEnv('ANYPLACE_VAULT_PASSPHRASE', 'b')
  vi.stubEnv('SSH_ASKPASS', '/bin/ask')
  vi.stubEnv('LANG', 'de_DE')
  vi.stubEnv('OWN', 'c')
  const env = sshEnvironment()
  vi.unstubAllEnvs()
  expect(env).toMatchObject({ LC_ALL: 'C', OWN: 'c' })
  for (const name of ['ANYPLACE_VAULT_KEY', 'ANYPLACE_VAULT_PASSPHRASE', 'SSH_ASKPASS', 'LANG'])
    expect(env).not.toHaveProperty(name)
})
