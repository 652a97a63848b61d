import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'

export interface SshUser extends Disposable {
  readonly name: string
  readonly password: string
}

/** A user of this machine with a password, for as long as a test takes. Root only. */
export function addSshUser(homeDirectory: string): SshUser {
  const name = `anyplace-${randomBytes(3).toString('hex')}`
  const password = `pa ss'"$(id)${randomBytes(8).toString('hex')}`
  execFileSync('useradd', [
    '--no-log-init',
    '--no-create-home',
    '--home-dir',
    homeDirectory,
    '--shell',
    '/bin/sh',
    name,
  ])
  execFileSync('chpasswd', { input: `${name}:${password}\n` })
  return {
    name,
    password,
    [Symbol.dispose]: () => void execFileSync('userdel', [name]),
  }
}
