import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import type { SshTarget } from '../../src/providers/ssh/index.ts'

/** The servers that test/lab/sshd-up starts. */
export type LabServer = 'jump' | 'target' | 'plain' | 'odd'

/** Where test/lab/sshd-up has put its keys; undefined when ANYPLACE_TEST_SSH does not say. */
export const SSH_LAB: string | undefined = process.env['ANYPLACE_TEST_SSH'] || undefined

/** Why the lab cannot be used; undefined when it can. */
export function sshLabProblem(): string | undefined {
  if (SSH_LAB === undefined) return 'ANYPLACE_TEST_SSH does not name the directory of the lab'
  return existsSync(join(SSH_LAB, 'lab.json')) ? undefined : `there is no ${SSH_LAB}/lab.json`
}

export function labPort(server: LabServer): number {
  return lab()[server] as number
}

/** One of the lab's servers as a target, logged in to with the key `id_a`. */
export function labTarget(server: LabServer, more: Partial<SshTarget> = {}): SshTarget {
  return {
    name: `lab-${server}`,
    host: '127.0.0.1',
    port: labPort(server),
    username: lab()['user'] as string,
    identity: { kind: 'file', path: labFile('id_a') },
    ...more,
  }
}

export function labFile(name: string): string {
  return join(SSH_LAB ?? '/nonexistent', name)
}

/** A state directory of the test's own in which the lab's host keys are pinned; ANYPLACE_HOME is set to it. */
export function stateWithPins(): { readonly path: string; remove(): void } {
  const path = mkdtempSync('/tmp/anyplace-test-')
  mkdirSync(path, { recursive: true, mode: 0o700 })
  copyFileSync(labFile('known_hosts'), join(path, 'known_hosts'))
  process.env['ANYPLACE_HOME'] = path
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) }
}

function lab(): Record<string, unknown> {
  return JSON.parse(readFileSync(labFile('lab.json'), 'utf8')) as Record<string, unknown>
}
