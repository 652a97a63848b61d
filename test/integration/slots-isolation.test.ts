import { expect, test } from 'vitest'
import type { Slot } from '../../src/spec/index.ts'
import { inEverySlotPlace, until } from '../support/slot-places.ts'

// Real slots in real sandboxes: what a slot can do to its neighbour, to the daemon and to its successor.

await inEverySlotPlace((place) => {
  const { create, sh, python, asRoot } = place

  test('a slot has a user, a home, a temporary directory and a limit of its own', async () => {
    const [one, other] = await Promise.all([create({ env: { COLOUR: 'blue' } }), create()])
    expect(one.uid).not.toBe(other.uid)
    const { uids } = await place.slots.info()
    expect(one.uid).toBeGreaterThanOrEqual(uids.first)
    expect(one.uid).toBeLessThan(uids.first + uids.count)
    const said = await sh(one, 'id -u; id -g; pwd; echo $HOME; ulimit -u; stat -c "%u %a" . "$TMPDIR"; echo $COLOUR')
    const limit = (await place.slots.run(one.name, ['bash', '-c', 'ulimit -u'])).stdout.trim()
    const lines = said.stdout.split('\n').filter((line) => line !== '')
    expect(lines.slice(0, 4)).toEqual([String(one.uid), String(one.uid), one.home, one.home])
    expect(limit).toBe('64')
    expect(lines.filter((line) => line === `${one.uid} 700`)).toHaveLength(2)
    expect(lines.at(-1)).toBe('blue')
    expect((await place.slots.list()).map((slot) => slot.name)).toEqual(expect.arrayContaining([one.name, other.name]))
  })

  test('everything that a slot could write is closed to it, and to nobody else', async () => {
    await place.box.shell(
      'mkdir -p /workspace/open && chmod 777 /workspace/open && touch /workspace/any && chmod 666 /workspace/any',
    )
    const slot = await create()
    const find = `import os
uid = os.getuid()
found = []
for directory, names, files in os.walk("/"):
    if directory.startswith(("/proc", "/sys")) or directory.startswith(os.environ["HOME"]) or directory.startswith(os.environ["TMPDIR"]):
        names[:] = []
        continue
    for path in [directory] + [os.path.join(directory, name) for name in files]:
        if not os.path.islink(path) and os.access(path, os.W_OK) and not path.startswith("/dev/pts"):
            found.append(path)
print("\\n".join(sorted(set(found))))`
    const isPrivate = (path: string): boolean =>
      place.isolation === 'namespace' && /^\/(tmp|var\/tmp|dev\/(shm|mqueue))(\/|$)/.test(path)
    const devices = /^\/dev\/(null|zero|full|random|urandom|tty|ptmx|pts\/.*)$/
    const writable = (await python(slot, find)).stdout
      .split('\n')
      .filter((path) => path !== '' && !devices.test(path) && !isPrivate(path))
    expect(writable).toEqual([])
    const user = 'touch /tmp/mine /workspace/open/mine && echo more >> /workspace/any && echo fine'
    expect((await place.box.run(['sh', '-c', user], { user: '1000:1000' })).stdout).toBe('fine\n')
    const queue = await python(
      slot,
      'import ctypes,os\nl=ctypes.CDLL("librt.so.1" if os.path.exists("/lib/x86_64-linux-gnu/librt.so.1") else None,use_errno=True)\nprint(l.mq_open(b"/left",os.O_CREAT|os.O_RDWR,0o666,None), ctypes.get_errno())',
    )
    if (place.isolation === 'user') return expect(queue.stdout.trim()).toBe('-1 13')
    // It is its own: neither a neighbour nor a successor sees it.
    expect(queue.stdout).toMatch(/^\d+ 0/)
    const places = 'touch /tmp/left /dev/shm/left; ls -A /tmp /dev/shm /dev/mqueue'
    expect((await sh(slot, places)).stdout).toBe('/dev/mqueue:\nleft\n\n/dev/shm:\nleft\n\n/tmp:\nleft\n')
    expect((await place.slots.files(slot.name).list('/tmp')).entries.map((entry) => entry.path)).toEqual(['left'])
    const neighbour = await create()
    expect((await sh(neighbour, 'ls -A /tmp /dev/shm /dev/mqueue; ls -d /proc/[0-9]* | wc -l')).stdout).toMatch(
      /^\/dev\/mqueue:\n\n\/dev\/shm:\n\n\/tmp:\n[3-6]\n$/,
    )
    expect((await place.slots.reset(slot.name)).isClean).toBe(true)
    expect((await sh(slot, 'ls -A /tmp /dev/shm /dev/mqueue')).stdout).not.toContain('left')
  })

  test('a neighbour cannot be read, signalled, traced or entered', async () => {
    const [victim, thief] = await Promise.all([create(), create()])
    await place.slots.files(victim.name).write('secret', 'gold', { mode: 0o666 })
    const job = await place.slots.spawn(victim.name, ['sleep', '60'], { env: { TOKEN: 'gold' } })
    const attack = `import ctypes, os, signal
def attempt(name, call):
    try:
        print(name, "DONE", call())
    except OSError as error:
        print(name, "refused", error.errno)
pid = ${job.pid}
attempt("home", lambda: os.listdir("${victim.home}"))
attempt("file", lambda: open("${victim.home}/secret").read())
attempt("tmp", lambda: os.listdir("${victim.home}/../.anyplace/tmp/${victim.name}"))
attempt("signal", lambda: os.kill(pid, signal.SIGKILL))
attempt("environ", lambda: open("/proc/%d/environ" % pid).read())
attempt("memory", lambda: open("/proc/%d/mem" % pid, "rb").read(1))
attempt("cwd", lambda: os.listdir("/proc/%d/cwd" % pid))
attempt("root", lambda: os.listdir("/proc/%d/root/" % pid))
attempt("fd", lambda: os.listdir("/proc/%d/fd" % pid))
libc = ctypes.CDLL(None, use_errno=True)
def trace():
    if libc.ptrace(16, pid, 0, 0) < 0:
        raise OSError(ctypes.get_errno(), "ptrace")
attempt("ptrace", trace)
attempt("become", lambda: os.setuid(${victim.uid}))
attempt("groups", lambda: os.setgroups([]))
for root in os.listdir("/proc"):
    if root.isdigit() and os.stat("/proc/" + root).st_uid != os.getuid():
        try:
            os.kill(int(root), 0)
            print("signal", root, "DONE")
        except PermissionError:
            pass
        except ProcessLookupError:
            pass
        for name in ("environ", "mem", "fd", "cwd"):
            try:
                path = "/proc/%s/%s" % (root, name)
                if name == "mem":
                    open(path, "rb").close()
                elif name == "environ":
                    open(path).read()
                else:
                    os.listdir(path)
                print(path, "DONE")
            except OSError:
                pass
`
    const { stdout, stderr } = await python(thief, attack)
    expect(stderr).toBe('')
    expect(stdout).not.toContain('DONE')
    expect(stdout.match(/refused/g)).toHaveLength(12)
    expect(
      (await job.wait({ signal: AbortSignal.timeout(50) }).catch((error: unknown) => error)) instanceof Error,
    ).toBe(true)
    await job.kill()
  })

  test('a slot cannot fill the memory that all share, nor take it from its neighbour', async () => {
    const [greedy, neighbour] = await Promise.all([create(), create()])
    const fill = `total = 0
try:
    with open("/dev/shm/fill", "wb", buffering=0) as file:
        while total < 1024:
            file.write(bytes(1 << 20))
            total += 1
except OSError as error:
    print(error.errno, total)`
    const { stdout } = await python(greedy, fill)
    if (place.isolation === 'user') return expect(stdout).toBe('13 0\n')
    expect(stdout).toBe('28 256\n')
    expect((await sh(neighbour, 'echo fine > /dev/shm/mine && cat /dev/shm/mine')).stdout).toBe('fine\n')
    expect((await place.slots.reset(greedy.name)).isClean).toBe(true)
    expect((await sh(greedy, 'ls -A /dev/shm; echo fine > /dev/shm/mine && cat /dev/shm/mine')).stdout).toBe('fine\n')
  })

  test('a slot gets no privilege by namespaces of its own', async () => {
    const slot = await create()
    const all = [0x1000_0000, 0x2000_0000, 0x2_0000, 0x4000_0000, 0x800_0000, 0x400_0000, 0x200_0000]
    const tries = `import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
for kind in ${JSON.stringify(all)}:
    pid = os.fork()
    if pid == 0:
        print(libc.unshare(kind), end=" ", flush=True)
        os._exit(0)
    os.waitpid(pid, 0)
print(libc.mount(b"x", os.environ["HOME"].encode(), b"tmpfs", 0, None))
print(open("/proc/self/status").read().split("CapEff:\\t")[1].split()[0])`
    const { stdout } = await python(slot, tries)
    expect(stdout).toBe(`${'-1 '.repeat(all.length)}-1\n0000000000000000\n`)
  })

  test("a slot reaches neither the daemon's socket nor its process", async () => {
    const slot = await create()
    const kept = place.engine === 'docker' ? '/run/anyplace' : '/run/anyplace/journal'
    const reach = `import os, socket
for path in ("/run/anyplace/execd.sock", "${kept}"):
    try:
        if path.endswith("sock"):
            socket.socket(socket.AF_UNIX).connect(path)
        else:
            os.listdir(path)
        print("DONE", path)
    except OSError as error:
        print("refused", error.errno)
try:
    os.kill(1, 9)
    print("DONE kill")
except OSError as error:
    print("refused", error.errno)
for line in open("/proc/net/unix").read().split("\\n"):
    if "@" in line:
        try:
            name = line.split()[-1].replace("@", "\\0")
            socket.socket(socket.AF_UNIX).connect(name)
            print("DONE", repr(name))
        except OSError:
            pass
`
    const { stdout } = await python(slot, reach)
    // Whatever listens on an abstract name belongs to the machine, not to us; the namespace engine shares its network.
    expect(stdout.split('\n').filter((line) => line.startsWith('DONE') && /run|execd|kill/.test(line))).toEqual([])
    expect(stdout.match(/refused/g)!.length).toBeGreaterThanOrEqual(3)
  })

  test('a reset leaves nothing to the successor: processes of every kind, files of every kind, IPC', async () => {
    const slot = await create()
    const stray = `import os, signal, subprocess, sys, time, ctypes
ctypes.CDLL(None).prctl(4, 0)  # hides its /proc entry
os.setsid()
if os.fork():
    os._exit(0)
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
while True:
    time.sleep(1)
`
    await place.slots.files(slot.name).write('stray.py', stray)
    await place.slots.files(slot.name).write('.bashrc', 'evil')
    await sh(
      slot,
      `python3 stray.py; for i in 1 2 3 4 5; do setsid sleep 99 & done; (sleep 99 & kill -STOP $!) ;
       mkdir ro; touch ro/x ..y '...z' -f; chmod 500 ro; mkfifo pipe; ln -s /etc link; mkdir -p $TMPDIR/t; touch $TMPDIR/t/u;
       d=deep; mkdir $d; cd $d; i=0; while [ $i -lt 200 ]; do mkdir dddddddddddddddddddddddd && cd dddddddddddddddddddddddd; i=$((i+1)); done`,
    )
    await python(
      slot,
      'import ctypes;l=ctypes.CDLL(None);print(l.shmget(7,4096,0o1666),l.semget(7,1,0o1666),l.msgget(7,0o1666))',
    )
    const bomb = `import os, time
while True:
    try:
        os.fork()
    except OSError:
        time.sleep(0.001)
`
    const storm = await place.slots.spawn(slot.name, ['python3', '-c', bomb])
    await until(async () => Number((await ofUser(slot)).trim()) > 50)
    const report = await place.slots.reset(slot.name)
    expect(report.left).toEqual([])
    expect(report.isClean).toBe(true)
    expect(report.killedProcesses).toBeGreaterThan(40)
    expect(Number(await ofUser(slot))).toBeLessThanOrEqual(1) // one of ours, that comes up again
    await storm.wait()
    const after = await sh(
      slot,
      'ls -A . $TMPDIR; cat /proc/sysvipc/shm /proc/sysvipc/sem /proc/sysvipc/msg | wc -l; id -u',
    )
    expect(after.stdout.split('\n').filter((line) => line !== '' && !line.endsWith(':'))).toEqual([
      '3',
      String(slot.uid),
    ])
    expect((await place.slots.scan(slot.name)).left).toEqual([])
    await until(async () => (await asRoot(`ls -A ${slot.home}/../.anyplace/trash | wc -l`)).trim() === '0')
  })

  test('files that a slot got out of its home are found by a scan, and make it dirty', async () => {
    const slot = await create()
    const path = place.engine === 'docker' ? '/var/cache/found' : '/workspace/found'
    await asRoot(`touch ${path}; chown ${slot.uid}:${slot.uid} ${path}`)
    const found = await place.slots.scan(slot.name)
    expect(found.left).toEqual([{ kind: 'file', what: path }])
    await expect(sh(slot, 'true')).rejects.toMatchObject({ code: 'conflict' })
    await asRoot(`rm ${path}`)
    expect((await place.slots.reset(slot.name)).isClean).toBe(true)
    expect((await sh(slot, 'true')).exitCode).toBe(0)
  })

  test('a template comes back as it was, and shares nothing with the homes', async () => {
    await asRoot(
      'mkdir -p /workspace/t/sub && echo one > /workspace/t/sub/file && ln -s sub/file /workspace/t/link && chmod 755 /workspace/t /workspace/t/sub',
    )
    const slot = await create({ template: '/workspace/t' })
    expect((await sh(slot, 'cat link; echo two > sub/file; touch more; stat -c %u sub/file')).stdout).toBe(
      `one\n${slot.uid}\n`,
    )
    for (const _again of [1, 2]) {
      expect((await place.slots.reset(slot.name, { strategy: 'template' })).isClean).toBe(true)
      expect((await sh(slot, 'cat link; echo three > sub/file; ls -A')).stdout).toBe('one\nlink\nsub\n')
    }
    expect(await asRoot('cat /workspace/t/sub/file')).toBe('one\n')
    expect((await place.slots.reset(slot.name)).isClean).toBe(true)
    expect((await sh(slot, 'ls -A')).stdout).toBe('')
    await place.slots.files(slot.name).write('kept', 'x')
    expect((await place.slots.reset(slot.name, { strategy: 'none' })).isClean).toBe(true)
    expect((await sh(slot, 'ls -A')).stdout).toBe('kept\n')
  })

  test('a reset right after another is as clean', async () => {
    const slot = await create()
    for (let again = 0; again < 10; again++) {
      expect(await place.slots.reset(slot.name)).toMatchObject({ isClean: true, left: [] })
    }
    const other = await create()
    await place.slots.remove(other.name)
  })

  test('artifacts of a slot, and no way out of its home', async () => {
    const slot = await create()
    const files = place.slots.files(slot.name)
    await files.write('out/result.txt', 'fine')
    expect((await files.list('out')).entries.map((entry) => entry.path)).toEqual(['result.txt'])
    expect((await files.archive('.', { format: 'zip' })).entries).toBeGreaterThan(0)
    await expect(files.write('/etc/passwd', 'x')).rejects.toMatchObject({ code: 'permission-denied' })
    await expect(files.write('/tmp/../opt/x', 'x')).rejects.toMatchObject({ code: 'permission-denied' })
  })

  async function ofUser(slot: Slot): Promise<string> {
    const count = `import os
n = 0
for pid in os.listdir("/proc"):
    if pid.isdigit():
        try:
            lines = open("/proc/%s/status" % pid).read().split("\\n")
        except OSError:
            continue
        state = next(line for line in lines if line.startswith("State:"))
        if "Z" not in state and "X" not in state:
            n += next(line for line in lines if line.startswith("Uid:")).split()[1] == "${slot.uid}"
print(n)`
    return (await place.box.run(['python3', '-c', count])).stdout
  }
})
