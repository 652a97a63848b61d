import { execFile } from 'node:child_process'
import { readFile, readlink } from 'node:fs/promises'
import { hostname } from 'node:os'
import { promisify } from 'node:util'
import type { Owner } from '../spec/index.ts'

/** What can be said of a sandbox's owner from here. `unknown` is never a reason to remove anything. */
export type OwnerState = 'alive' | 'dead' | 'unknown'

let own: Promise<Owner> | undefined

/** This process, named for good: no other process ever has the same five fields. */
export function thisProcess(): Promise<Owner> {
  own ??= readOwner().catch((error: unknown) => {
    own = undefined
    throw error
  })
  return own
}

async function readOwner(): Promise<Owner> {
  const [bootId, pidNamespace, self] = await Promise.all([
    readBootId(),
    readlink('/proc/self/ns/pid').then(
      (link) => /\[(\d+)\]/.exec(link)?.[1] ?? link,
      () => 'none',
    ),
    lookUp(process.pid),
  ])
  return {
    hostname: hostname(),
    bootId,
    pidNamespace,
    pid: process.pid,
    startTime: typeof self === 'object' ? self.startTime : '',
  }
}

/** Whether the process that owns a sandbox still lives, as far as it can be proven from this process. */
export async function ownerState(owner: Owner): Promise<OwnerState> {
  const here = await thisProcess()
  if (owner.hostname !== here.hostname || owner.bootId !== here.bootId || owner.pidNamespace !== here.pidNamespace) {
    return 'unknown'
  }
  if (owner.startTime === '' || !Number.isSafeInteger(owner.pid) || owner.pid <= 0) return 'unknown'
  const sighting = await lookUp(owner.pid)
  if (typeof sighting === 'object') return sighting.startTime === owner.startTime ? 'alive' : 'dead'
  if (sighting === 'exited') return 'dead'
  // Where /proc hides the processes of other users, a missing entry alone proves nothing.
  return sighting === 'unseen' && !signalReaches(owner.pid) ? 'dead' : 'unknown'
}

type Sighting = { readonly startTime: string } | 'exited' | 'unseen' | 'unreadable'

async function lookUp(pid: number): Promise<Sighting> {
  if (process.platform !== 'linux') return lookUpByPs(pid)
  let stat: string
  try {
    stat = await readFile(`/proc/${pid}/stat`, 'utf8')
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    return code === 'ENOENT' || code === 'ESRCH' ? 'unseen' : 'unreadable'
  }
  // The name in parentheses may hold anything, so the fields are counted from its end: state is the 3rd, start the 22nd.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const [state, startTime] = [fields[0], fields[19]]
  // A zombie only waits for its parent to look; nothing of it runs.
  if (state === 'Z' || state === 'X') return 'exited'
  return startTime === undefined ? 'unreadable' : { startTime }
}

async function lookUpByPs(pid: number): Promise<Sighting> {
  try {
    const argv = ['-o', 'lstart=', '-p', String(pid)]
    const { stdout } = await promisify(execFile)('/bin/ps', argv, { env: { LC_ALL: 'C' } })
    const startTime = stdout.trim().replaceAll(/\s+/g, ' ')
    return startTime === '' ? 'unseen' : { startTime }
  } catch {
    return 'unseen'
  }
}

function signalReaches(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH'
  }
}

async function readBootId(): Promise<string> {
  try {
    return (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim()
  } catch {
    if (process.platform !== 'darwin') throw new Error('This system tells no boot id')
    const { stdout } = await promisify(execFile)('/usr/sbin/sysctl', ['-n', 'kern.bootsessionuuid'])
    return stdout.trim()
  }
}
