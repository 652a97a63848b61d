import { execFileSync, spawnSync } from 'node:child_process'
import { join } from 'node:path'
import process from 'node:process'
import { connectionKey } from '../../src/providers/ssh/master.ts'
import { runtimeDirectory } from '../../src/providers/ssh/runtime-directory.ts'
import type { PrivateKey, SshTarget } from '../../src/providers/ssh/index.ts'

/** The control socket that connections to the target share. */
export async function controlPath(target: SshTarget, key?: PrivateKey): Promise<string> {
  return join(await runtimeDirectory(), connectionKey(target, key))
}

/** The master's pid; undefined when there is none. */
export function masterPid(path: string): number | undefined {
  const { stdout, stderr } = spawnSync('ssh', ['-F', 'none', '-S', path, '-O', 'check', 'host'], { encoding: 'utf8' })
  const pid = /pid=(\d+)/.exec(`${stdout}${stderr}`)?.[1]
  return pid === undefined ? undefined : Number(pid)
}

/** The server's process behind the master. */
export function serverPid(path: string): number {
  return Number(execFileSync('ssh', ['-F', 'none', '-S', path, 'host', 'echo $PPID'], { stdio: 'pipe' }).toString())
}

/** Ends the master, as any tool of OpenSSH would. */
export function endMaster(path: string): void {
  const pid = masterPid(path)
  if (pid !== undefined) process.kill(pid, 'SIGKILL')
}
