import { spawn } from 'node:child_process'
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { runHost } from '../baselines.ts'

/** The lab's server with OpenSSH's own limits, and how each contender gets to it. */
export interface SshLab {
  readonly user: string
  readonly port: number
  readonly keyFile: string
  /** `Host box` for ssh, scp, sftp and rsync. */
  readonly configFile: string
  /** Words of an ssh that uses the master connection. */
  readonly pooled: readonly string[]
  /** A directory on the server, which is this machine. */
  readonly remote: string
  readonly hostKey: Buffer
  /** State of Anyplace with the server's key pinned. */
  readonly home: string
  close(): Promise<void>
}

/** Starts the lab's servers unless they run, and a ControlMaster of our own. */
export async function openSshLab(): Promise<SshLab> {
  const lab = process.env['ANYPLACE_TEST_SSH'] ?? (await runHost(['test/lab/sshd-up'])).toString().trim()
  const facts = JSON.parse(readFileSync(join(lab, 'lab.json'), 'utf8')) as { user: string; jump: number }
  const home = mkdtempSync('/tmp/anyplace-bench-ssh-')
  copyFileSync(join(lab, 'known_hosts'), join(home, 'known_hosts'))
  const configFile = join(home, 'config')
  const control = join(home, 'control')
  writeFileSync(
    configFile,
    `Host box
  HostName 127.0.0.1
  Port ${facts.jump}
  User ${facts.user}
  IdentityFile ${join(lab, 'id_a')}
  IdentitiesOnly yes
  UserKnownHostsFile ${join(lab, 'known_hosts')}
  StrictHostKeyChecking yes
  BatchMode yes
  LogLevel ERROR
`,
  )
  const pooled = ['-F', configFile, '-o', `ControlPath=${control}`]
  const master = spawn('ssh', [...pooled, '-M', '-N', 'box'], { stdio: 'ignore' })
  for (let turn = 0; turn < 100; turn++) {
    const answers = await runHost(['ssh', ...pooled, '-O', 'check', 'box']).then(
      () => true,
      () => false,
    )
    if (answers) break
    await delay(50)
  }
  const known = readFileSync(join(lab, 'known_hosts'), 'utf8').split('\n')
  const line = known.find((one) => one.startsWith(`[127.0.0.1]:${facts.jump} `))
  return {
    user: facts.user,
    port: facts.jump,
    keyFile: join(lab, 'id_a'),
    configFile,
    pooled,
    remote: join(home, 'remote'),
    hostKey: Buffer.from(line?.split(' ')[2] ?? '', 'base64'),
    home,
    async close() {
      master.kill()
      rmSync(home, { recursive: true, force: true })
    },
  }
}
