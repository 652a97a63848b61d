import { existsSync, readFileSync } from 'node:fs'
import {
  chmod,
  chown,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { namespaceEngine } from '../../src/engines/namespace/index.ts'
import type { SandboxSpec } from '../../src/spec/index.ts'
import { enginePlace, ownSeconds, pidIn, processesWith, sleepersOf, until } from '../support/engine-place.ts'
import type { EnginePlace } from '../support/engine-place.ts'

const isRoot = process.getuid?.() === 0
const USER = 1000
/** As root both ways are tried: root's own, and that of an ordinary user. */
const ways: readonly { readonly name: string; readonly uid?: number }[] = isRoot
  ? [{ name: 'as root' }, { name: 'as an ordinary user', uid: USER }]
  : [{ name: 'as an ordinary user' }]

describe.each(ways)('the namespace engine $name', ({ uid }) => {
  const asRoot = isRoot && uid === undefined
  const owner = uid ?? process.getuid?.() ?? 0
  let place: EnginePlace
  let shared: string
  beforeAll(async () => {
    place = await enginePlace(namespaceEngine, uid === undefined ? {} : { uid })
    shared = await mkdtemp(join(tmpdir(), 'anyplace-shared-'))
    if (isRoot) await chown(shared, owner, owner)
  })
  afterAll(async () => {
    await place[Symbol.asyncDispose]()
    await rm(shared, { recursive: true, force: true })
  })

  async function sharedDirectory(name: string): Promise<string> {
    const path = join(shared, name)
    await mkdir(path)
    await writeFile(join(path, 'here.txt'), 'from outside')
    await chmod(path, 0o700)
    if (isRoot) for (const each of [path, join(path, 'here.txt')]) await chown(each, owner, owner)
    return path
  }

  it('says that it works', async () => {
    expect(await place.engine.check()).toMatchObject({ subject: 'namespace', status: 'ok' })
    expect(await place.leftovers()).toEqual([])
  })

  it('runs as one user inside, who is nobody special on the machine', async () => {
    const box = await place.open()
    expect((await box.run(['id'])).stdout).toMatch(/^uid=1000\(sandbox\) gid=1000\(sandbox\) groups=1000\(sandbox\)$/m)
    const token = ownSeconds()
    const sleeper = await box.session.spawn(['sleep', token])
    await until(async () => (await sleepersOf(token)).length > 0)
    const [pid = 0] = await sleepersOf(token)
    const uids = /^Uid:\t(\d+)\t(\d+)\t(\d+)\t(\d+)$/m.exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.slice(1)
    expect(new Set(uids).size).toBe(1)
    expect(Number(uids?.[0])).not.toBe(0)
    if (asRoot) expect(Number(uids?.[0])).toBeGreaterThan(65_536)
    else expect(Number(uids?.[0])).toBe(owner)
    await sleeper.kill()
  })

  it('has no capability, can gain none, and has no terminal of ours', async () => {
    const box = await place.open()
    const { stdout } = await box.run(['cat', '/proc/self/status'])
    expect(stdout.match(/^Cap\w+:\t0{16}$/gm)).toHaveLength(5)
    expect(stdout).toMatch(/^NoNewPrivs:\t1$/m)
    const tty = await box.sh('(: </dev/tty) 2>&1')
    expect(tty.exitCode).not.toBe(0)
    for (const command of ['mount -t tmpfs none /mnt', 'hostname other', 'chroot / true', 'mknod /tmp/d b 254 0'])
      expect((await box.sh(command)).exitCode, command).not.toBe(0)
    // A user namespace of its own would give it all of them back.
    const code = 'import ctypes; print(ctypes.CDLL(None).unshare(0x10000000)); print(open("/proc/self/status").read())'
    const nested = (await box.run(['python3', '-c', code])).stdout
    expect(nested).toMatch(/^-1$/m)
    expect(nested).toMatch(/^CapEff:\t0{16}$/m)
  })

  it('shows nothing of the host outside the allow-list', async () => {
    const box = await place.open()
    const top = (await box.sh('ls -1 /')).stdout.trim().split('\n')
    expect(top).not.toContain('root')
    expect(
      new Set(
        top.filter((name) => !/^(bin|sbin|lib\w*|usr|etc|dev|proc|sys|tmp|var|run|home|nix|workspace)$/.test(name)),
      ),
    ).toEqual(new Set())
    expect((await box.sh('ls -A /home /run /var /tmp')).stdout).toBe(
      '/home:\nsandbox\n\n/run:\nanyplace\n\n/tmp:\n\n/var:\nrun\ntmp\n',
    )
    expect((await box.sh('ls -A /run/anyplace; ls -A /home/sandbox')).stdout).toBe('journal\n')
    expect((await box.sh('cat /etc/shadow; ls /etc/ssh /etc/ssl/private')).stdout).toBe('')
    expect((await box.run(['cat', '/etc/passwd'])).stdout.split('\n')).toHaveLength(4)
  })

  it('shows none of the host processes, and they cannot be signalled', async () => {
    const box = await place.open()
    const { stdout } = await box.sh('for d in /proc/[0-9]*; do tr "\\0" " " <$d/cmdline; echo; done')
    expect(stdout).not.toContain('vitest')
    expect((await box.sh(`kill -0 ${process.pid}`)).exitCode).not.toBe(0)
    expect((await box.sh('ls /proc/1/root/ /proc/1/cwd/')).stdout).not.toContain('root\n')
    // Process 1 is ours; commands cannot end it.
    await box.sh('kill -TERM 1; kill -KILL 1')
    expect((await box.run(['echo', 'alive'])).stdout).toBe('alive\n')
  })

  it('has a system that is read-only, and writable places of its own', async () => {
    const box = await place.open()
    for (const path of ['/usr', '/etc', '/', '/usr/bin', '/dev', '/sys', '/var', '/run', '/proc/sys/kernel'])
      expect((await box.sh(`touch ${path}/anyplace-test`)).exitCode, path).not.toBe(0)
    for (const path of ['/workspace', '/tmp', '/home/sandbox', '/dev/shm', '/var/tmp', '.', '~'])
      expect((await box.sh(`touch ${path}/anyplace-test`)).exitCode, path).toBe(0)
    expect(existsSync('/tmp/anyplace-test')).toBe(false)
    expect((await box.sh('echo 1 > /proc/sys/kernel/hostname')).exitCode).not.toBe(0)
    for (const name of ['null', 'zero', 'urandom', 'full', 'random'])
      expect((await box.sh(`test -c /dev/${name} && test -r /dev/${name}`)).exitCode, name).toBe(0)
  })

  it('starts without what the client holds: environment, keyring, descriptors', async () => {
    const box = await place.open({ env: { GIVEN: 'yes' } })
    expect(
      (await box.run(['env'])).stdout
        .split('\n')
        .filter(Boolean)
        .map((line) => line.split('=')[0] ?? '')
        .toSorted(),
    ).toEqual(['ANYPLACE_SANDBOX', 'GIVEN', 'HOME', 'LANG', 'LOGNAME', 'PATH', 'TERM', 'USER'])
    expect((await box.sh('ls /proc/self/fd | wc -l')).stdout.trim()).toBe('4')
  })

  it('without network has nothing but loopback', async () => {
    const box = await place.open({ network: false })
    expect(await box.host.info()).toMatchObject({ network: 'none', isolation: 'namespace' })
    expect((await box.run(['cat', '/proc/net/route'])).stdout.trim().split('\n')).toHaveLength(1)
    const names = (await box.run(['cat', '/proc/net/dev'])).stdout.match(/^\s*\w+:/gm)?.map((name) => name.trim())
    expect(names).toEqual(['lo:'])
    const code = `import socket
server = socket.create_server(("127.0.0.1", 0)); client = socket.create_connection(server.getsockname()); print("loopback")
try: socket.create_connection(("192.0.2.1", 80), 2)
except OSError as error: print(error.errno)`
    expect((await box.run(['python3', '-c', code])).stdout).toBe('loopback\n101\n')
  })

  it('with network has the host one and says so', async () => {
    const box = await place.open()
    expect(await box.host.info()).toMatchObject({ network: 'host' })
    expect((await box.run(['readlink', '/proc/self/ns/net'])).stdout.trim()).toBe(await readlink('/proc/self/ns/net'))
  })

  it('mounts read-only unless asked, with the rights of the directory owner', async () => {
    const readOnly = await sharedDirectory('read-only')
    const writable = await sharedDirectory('writable')
    const box = await place.open({
      mounts: [
        { source: readOnly, target: '/mnt/in' },
        { source: writable, target: '/mnt/deep/out', writable: true },
      ],
    })
    expect((await box.sh('cat /mnt/in/here.txt /mnt/deep/out/here.txt')).stdout).toBe('from outsidefrom outside')
    expect((await box.sh('touch /mnt/in/new; rm /mnt/in/here.txt')).exitCode).not.toBe(0)
    expect((await box.sh('echo more >/mnt/deep/out/new && echo x >/mnt/deep/out/here.txt')).exitCode).toBe(0)
    expect((await stat(join(writable, 'new'))).uid).toBe(owner)
    expect(await readdir(readOnly)).toEqual(['here.txt'])
    await box.host.close()
    expect((await readdir(writable)).toSorted()).toEqual(['here.txt', 'new'])
    expect(await readFile('/proc/mounts', 'utf8')).not.toContain(place.stateDirectory)
  })

  it('mounts the workspace writable at /workspace', async () => {
    const workspace = await sharedDirectory('workspace')
    const box = await place.open({ workspace, workdir: 'made/inside' })
    expect((await box.run(['pwd'])).stdout).toBe('/workspace/made/inside\n')
    expect((await box.sh('touch result; cat ../../here.txt')).stdout).toBe('from outside')
    expect((await stat(join(workspace, 'made/inside/result'))).uid).toBe(owner)
  })

  it('never follows a link that a workspace holds on the way to a mount target', async () => {
    const workspace = await sharedDirectory('trap')
    const target = await sharedDirectory('trap-target')
    await symlink(target, join(workspace, 'data'))
    const source = await sharedDirectory('trap-source')
    await expect(
      place.engine.open(place.request({ workspace, mounts: [{ source, target: '/workspace/data/x' }] })),
    ).rejects.toMatchObject({ code: 'invalid-argument', message: expect.stringContaining('link') })
    expect(await readdir(target)).toEqual(['here.txt'])
    expect(await place.leftovers().then((names) => names.length % 2)).toBe(0)
  })

  it('makes a workdir elsewhere, writable', async () => {
    const box = await place.open({ workdir: '/data/deep' })
    expect((await box.sh('pwd; touch here && echo ok')).stdout).toBe('/data/deep\nok\n')
  })

  it.each<[string, SandboxSpec, string]>([
    ['image', { image: 'python:3.12-slim' }, 'unsupported'],
    ['user', { user: 'root' }, 'unsupported'],
    ['workdir', { workdir: '/usr/share/x' }, 'unsupported'],
    ['mounts', { mounts: [{ source: '/etc', target: '/usr/x' }] }, 'unsupported'],
    ['mounts', { mounts: [{ source: '/etc', target: '/' }] }, 'unsupported'],
    ['mounts', { mounts: [{ source: '/no/such/source', target: '/mnt/x' }] }, 'invalid-argument'],
    ['mounts.target', { mounts: [{ source: '/etc', target: '/mnt/../usr' }] }, 'invalid-argument'],
    ['cpu', { cpu: 100_000 }, 'unsupported'],
    ['gpu', { gpu: { type: 'H999' } }, 'unsupported'],
  ])('refuses %s in %j', async (field, spec, code) => {
    const before = await place.leftovers()
    await expect(place.engine.open(place.request(spec))).rejects.toMatchObject({ code, field })
    expect(await place.leftovers()).toEqual(before)
  })

  it('enforces limits by control groups, or refuses them with the reason', async () => {
    const limits = { memoryLimitMiB: 64, cpuLimit: 0.5, pidsLimit: 20 }
    const before = await place.leftovers()
    const opening = place.open({ ...limits })
    if ((!asRoot && uid !== undefined) || !hasControlGroups()) {
      await expect(opening).rejects.toMatchObject({ code: 'unsupported', field: 'cpuLimit', message: /control group/ })
      expect(await place.leftovers()).toEqual(before)
      return
    }
    const box = await opening
    expect((await box.host.info()).limits).toEqual(limits)
    const memory = await box.run(['python3', '-c', 'bytearray(400 << 20); print("got it")'])
    expect(memory).toMatchObject({ exitCode: 137, stdout: '' })
    const forks = await box.sh('n=0; while [ $n -lt 60 ]; do sleep 20 & n=$((n+1)); echo $n; done 2>/dev/null')
    // The shell itself counts, and so may a keeper that waits for the next command.
    const started = forks.stdout.trim().split('\n').length
    expect(started).toBeLessThanOrEqual(19)
    expect(started).toBeGreaterThan(14)
    await box.host.close()
    for (const hierarchy of ['memory', 'pids', 'cpu', ''])
      expect(existsSync(join('/sys/fs/cgroup', hierarchy, 'anyplace', box.host.id))).toBe(false)
  })

  it('close ends every process and leaves nothing', async () => {
    const before = await place.leftovers()
    const box = await place.open()
    await box.sh('mkdir -p a/b && touch a/b/c && chmod 000 a/b && chmod 500 a; touch /tmp/x')
    const token = ownSeconds()
    await box.session.spawn(['/bin/sh', '-c', `env -i setsid sleep ${token} & trap "" TERM; sleep ${token}`])
    await until(async () => (await sleepersOf(token)).length >= 2)
    const init = await pidIn(`${box.directory}/init.pid`)
    await box.host.close()
    await box.host.close()
    expect(await sleepersOf(token)).toEqual([])
    expect(existsSync(`/proc/${init}`)).toBe(false)
    expect(await place.leftovers()).toEqual(before)
    await expect(box.host.connect()).rejects.toMatchObject({ code: 'sandbox-gone' })
  })

  it.each(['supervisor', 'keeper', 'daemon'] as const)('after kill -9 of the %s nothing of it runs', async (victim) => {
    const before = await place.leftovers()
    const box = await place.open()
    const token = ownSeconds()
    await box.session.spawn(['/bin/sh', '-c', `env -i setsid sleep ${token} & sleep ${token}`])
    await until(async () => (await sleepersOf(token)).length >= 2)
    const init = await pidIn(`${box.directory}/init.pid`)
    const daemon = Number((await readFile(`/proc/${init}/task/${init}/children`, 'utf8')).split(' ')[0])
    const keeper = await pidIn(`${box.directory}/run/supervisor.pid`)
    process.kill({ supervisor: init, keeper, daemon }[victim], 'SIGKILL')
    await until(async () => (await sleepersOf(token)).length === 0)
    await until(async () => (await place.engine.attach(box.host.id)) === undefined)
    await expect(box.host.connect()).rejects.toMatchObject({ code: 'sandbox-gone' })
    await place.engine.remove(box.host.id)
    expect(await place.leftovers()).toEqual(before)
  })

  it('ends by itself at its time and takes everything along', async () => {
    const before = await place.leftovers()
    const box = await place.open({}, { lifetime: { timeoutMs: 3000, maxLifetimeMs: 3000 } })
    await until(async () => !existsSync(box.directory))
    await until(async () => (await place.leftovers()).length === before.length)
    await expect(box.host.info()).rejects.toMatchObject({ code: 'sandbox-gone' })
  })

  it('undoes an open that is cancelled at any moment', async () => {
    const before = await place.leftovers()
    for (const waitMs of [0, 25, 50, 75, 100, 125]) {
      const abort = new AbortController()
      const request = place.request({}, { signal: abort.signal })
      const opening = place.engine.open(request).then(
        (host) => host.close(),
        (error: unknown) => expect(error).toMatchObject({ code: 'cancelled' }),
      )
      setTimeout(() => abort.abort(), waitMs)
      await opening
      await until(async () => (await processesWith(request.id)).length === 0)
    }
    expect(await place.leftovers()).toEqual(before)
  })
})

/** Whether this machine shows control groups at all; a root directory of its own without /sys/fs/cgroup has none. */
function hasControlGroups(): boolean {
  return /^\S+ \S+ cgroup2? rw/m.test(readFileSync('/proc/self/mounts', 'utf8'))
}
