import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { dockerEngine } from '../../src/engines/docker/docker-engine.ts'
import { namespaceEngine } from '../../src/engines/namespace/index.ts'
import { localMachine } from '../../src/providers/local/local-machine.ts'
import { openSandbox } from '../../src/sandboxes/open-sandbox.ts'
import type { Sandbox } from '../../src/sandboxes/sandbox.ts'
import { AnyplaceError } from '../../src/spec/index.ts'
import type { Engine, Machine, Provider, RunResult, Slot, SlotIsolation, Slots } from '../../src/spec/index.ts'

// Real slots in real sandboxes: what a slot can do to its neighbour, to the daemon and to its successor.

const stateDirectory = await mkdtemp(join(tmpdir(), 'anyplace-slots-'))
afterAll(() => rm(stateDirectory, { recursive: true, force: true }))
const local = localMachine()
const machine: Machine = { ...local, facts: async (options) => ({ ...(await local.facts(options)), stateDirectory }) }
const engines: readonly Engine[] = [dockerEngine(machine, { kind: 'docker' }), namespaceEngine(machine)]

for (const engine of engines) {
  const finding = await engine.check()
  const isRoot = process.getuid?.() === 0
  const missing =
    finding.status !== 'ok'
      ? finding.message
      : engine.name === 'namespace' && !isRoot
        ? 'only root can map the users of slots'
        : undefined
  const levels: readonly SlotIsolation[] = engine.name === 'docker' ? ['user'] : ['user', 'namespace']
  for (const level of missing === undefined ? levels : []) {
    describe(`${engine.name}, ${level}`, { timeout: 60_000 }, () => suite(engine, level))
  }
  if (missing !== undefined) test.skip(`${engine.name}: NOT TESTED, ${missing}`, () => {})
}

function providerOf(engine: Engine): Provider {
  const check = async () => [await engine.check()]
  return { type: 'local', contractVersion: 1, ...engine, check }
}

function suite(engine: Engine, isolation: SlotIsolation): void {
  let box: Sandbox
  let slots: Slots
  let count = 0

  beforeAll(async () => {
    box = await openSandbox({ provider: providerOf(engine) }, { slots: 60, timeoutMs: 300_000 })
    slots = box.slots!
  })
  afterAll(() => box?.close())

  const create = (more: object = {}): Promise<Slot> =>
    slots.create({ name: `s${++count}`, pidsLimit: 64, isolation, ...more })
  const sh = (slot: Slot, text: string): Promise<RunResult> => slots.run(slot.name, ['sh', '-c', text])
  const python = (slot: Slot, text: string): Promise<RunResult> => slots.run(slot.name, ['python3', '-c', text])

  test('a slot has a user, a home, a temporary directory and a limit of its own', async () => {
    const [one, other] = await Promise.all([create({ env: { COLOUR: 'blue' } }), create()])
    expect(one.uid).not.toBe(other.uid)
    const { uids } = await slots.info()
    expect(one.uid).toBeGreaterThanOrEqual(uids.first)
    expect(one.uid).toBeLessThan(uids.first + uids.count)
    const said = await sh(one, 'id -u; id -g; pwd; echo $HOME; ulimit -u; stat -c "%u %a" . "$TMPDIR"; echo $COLOUR')
    const limit = (await slots.run(one.name, ['bash', '-c', 'ulimit -u'])).stdout.trim()
    const lines = said.stdout.split('\n').filter((line) => line !== '')
    expect(lines.slice(0, 4)).toEqual([String(one.uid), String(one.uid), one.home, one.home])
    expect(limit).toBe('64')
    expect(lines.filter((line) => line === `${one.uid} 700`)).toHaveLength(2)
    expect(lines.at(-1)).toBe('blue')
    expect((await slots.list()).map((slot) => slot.name)).toEqual(expect.arrayContaining([one.name, other.name]))
  })

  test('everything that a slot could write is closed to it, and to nobody else', async () => {
    await box.shell(
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
      isolation === 'namespace' && /^\/(tmp|dev\/(shm|mqueue))(\/|$)/.test(path)
    const devices = /^\/dev\/(null|zero|full|random|urandom|tty|ptmx|pts\/.*)$/
    const writable = (await python(slot, find)).stdout
      .split('\n')
      .filter((path) => path !== '' && !devices.test(path) && !isPrivate(path))
    expect(writable).toEqual([])
    const user = 'touch /tmp/mine /workspace/open/mine && echo more >> /workspace/any && echo fine'
    expect((await box.run(['sh', '-c', user], { user: '1000:1000' })).stdout).toBe('fine\n')
    const queue = await python(
      slot,
      'import ctypes,os\nl=ctypes.CDLL("librt.so.1" if os.path.exists("/lib/x86_64-linux-gnu/librt.so.1") else None,use_errno=True)\nprint(l.mq_open(b"/left",os.O_CREAT|os.O_RDWR,0o666,None), ctypes.get_errno())',
    )
    if (isolation === 'user') return expect(queue.stdout.trim()).toBe('-1 13')
    // It is its own: neither a neighbour nor a successor sees it.
    expect(queue.stdout).toMatch(/^\d+ 0/)
    const places = 'touch /tmp/left /dev/shm/left; ls -A /tmp /dev/shm /dev/mqueue'
    expect((await sh(slot, places)).stdout).toBe('/dev/mqueue:\nleft\n\n/dev/shm:\nleft\n\n/tmp:\nleft\n')
    expect((await slots.files(slot.name).list('/tmp')).entries.map((entry) => entry.path)).toEqual(['left'])
    const neighbour = await create()
    expect((await sh(neighbour, 'ls -A /tmp /dev/shm /dev/mqueue; ls -d /proc/[0-9]* | wc -l')).stdout).toMatch(
      /^\/dev\/mqueue:\n\n\/dev\/shm:\n\n\/tmp:\n[3-6]\n$/,
    )
    expect((await slots.reset(slot.name)).isClean).toBe(true)
    expect((await sh(slot, 'ls -A /tmp /dev/shm /dev/mqueue')).stdout).not.toContain('left')
  })

  test('a neighbour cannot be read, signalled, traced or entered', async () => {
    const [victim, thief] = await Promise.all([create(), create()])
    await slots.files(victim.name).write('secret', 'gold', { mode: 0o666 })
    const job = await slots.spawn(victim.name, ['sleep', '60'], { env: { TOKEN: 'gold' } })
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

  test("a slot reaches neither the daemon's socket nor its process", async () => {
    const slot = await create()
    const kept = engine.name === 'docker' ? '/run/anyplace' : '/run/anyplace/journal'
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
    await slots.files(slot.name).write('stray.py', stray)
    await slots.files(slot.name).write('.bashrc', 'evil')
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
    const storm = await slots.spawn(slot.name, ['python3', '-c', bomb])
    await until(async () => Number((await ofUser(slot)).trim()) > 50)
    const report = await slots.reset(slot.name)
    expect(report.left).toEqual([])
    expect(report.isClean).toBe(true)
    expect(report.killedProcesses).toBeGreaterThan(40)
    expect((await ofUser(slot)).trim()).toBe('1')
    await storm.wait()
    const after = await sh(
      slot,
      'ls -A . $TMPDIR; cat /proc/sysvipc/shm /proc/sysvipc/sem /proc/sysvipc/msg | wc -l; id -u',
    )
    expect(after.stdout.split('\n').filter((line) => line !== '' && !line.endsWith(':'))).toEqual([
      '3',
      String(slot.uid),
    ])
    expect((await slots.scan(slot.name)).left).toEqual([])
    await until(async () => (await asRoot(`ls -A ${slot.home}/../.anyplace/trash | wc -l`)).trim() === '0')
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
    return (await box.run(['python3', '-c', count])).stdout
  }

  async function asRoot(text: string): Promise<string> {
    return (await box.run(['sh', '-c', text], { user: '0:0' })).stdout
  }

  test('files that a slot got out of its home are found by a scan, and make it dirty', async () => {
    const slot = await create()
    const place = engine.name === 'docker' ? '/var/cache/found' : '/workspace/found'
    await asRoot(`touch ${place}; chown ${slot.uid}:${slot.uid} ${place}`)
    const found = await slots.scan(slot.name)
    expect(found.left).toEqual([{ kind: 'file', what: place }])
    await expect(sh(slot, 'true')).rejects.toMatchObject({ code: 'conflict' })
    await asRoot(`rm ${place}`)
    expect((await slots.reset(slot.name)).isClean).toBe(true)
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
      expect((await slots.reset(slot.name, { strategy: 'template' })).isClean).toBe(true)
      expect((await sh(slot, 'cat link; echo three > sub/file; ls -A')).stdout).toBe('one\nlink\nsub\n')
    }
    expect(await asRoot('cat /workspace/t/sub/file')).toBe('one\n')
    expect((await slots.reset(slot.name)).isClean).toBe(true)
    expect((await sh(slot, 'ls -A')).stdout).toBe('')
    await slots.files(slot.name).write('kept', 'x')
    expect((await slots.reset(slot.name, { strategy: 'none' })).isClean).toBe(true)
    expect((await sh(slot, 'ls -A')).stdout).toBe('kept\n')
  })

  test('a batch keeps order, failures stay apart, and slots work side by side', async () => {
    const mine = await Promise.all([create(), create(), create()])
    const [one, other, third] = mine.map((slot) => slot.name) as [string, string, string]
    const seen: number[] = []
    const results = await slots.batch(
      [
        { slot: one, argv: ['sh', '-c', 'echo out; echo err >&2; exit 3'] },
        { slot: other, argv: ['no-such-program'] },
        { slot: 'nobody', argv: ['true'] },
        { slot: one, argv: ['cat'], input: new Uint8Array([0, 255, 10]) },
        { slot: third, argv: ['sh', '-c', 'echo part; sleep 60'], timeoutMs: 150 },
        { slot: one, argv: ['sh', '-c', 'sleep 61 & echo $! > pid'] },
        { slot: one, argv: ['sh', '-c', 'kill -0 $(cat pid) && pwd'], cwd: '.', env: { A: '1' } },
        { slot: other, argv: ['true'], cwd: 'missing' },
        { slot: other, argv: ['sh', '-c', 'head -c 100000 /dev/zero'], maxOutputBytes: 1000 },
        { slot: third, argv: ['sh', '-c', 'kill -TERM $$'] },
      ],
      { onResult: (index) => seen.push(index) },
    )
    const short = results.map(({ result, error }) => error?.code ?? [result!.exitCode, result!.stdout.slice(0, 20)])
    const home = mine[0]!.home
    expect(short.slice(0, 3)).toEqual([[3, 'out\n'], [127, ''], 'not-found'])
    expect([...results[3]!.result!.stdoutBytes]).toEqual([0, 255, 10])
    expect(short.slice(4, 8)).toEqual([[124, 'part\n'], [0, ''], [0, `${home}\n`], 'file-not-found'])
    expect(results[4]!.result!.timedOut).toBe(true)
    expect(results[8]!.result).toMatchObject({ truncated: true, exitCode: 0 })
    expect(results[8]!.result!.stdoutBytes.byteLength).toBe(1000)
    expect(results[9]!.result).toMatchObject({ exitCode: 143, signal: 'SIGTERM' })
    expect(results[0]!.result!.stderr).toBe('err\n')
    expect(seen.toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    await slots.reset(one)
  })

  test('one deadline for a batch, and a cancel that leaves nothing running', async () => {
    const [one, other] = await Promise.all([create(), create()])
    const late = await slots.batch(
      [
        { slot: one.name, argv: ['sh', '-c', 'echo begun; sleep 60'] },
        { slot: one.name, argv: ['true'] },
        { slot: other.name, argv: ['true'] },
      ],
      { timeoutMs: 400 },
    )
    expect(late.map(({ result, error }) => error?.code ?? result!.exitCode)).toEqual([124, 'timeout', 0])
    const abort = new AbortController()
    const running = slots.batch([{ slot: one.name, argv: ['sh', '-c', 'setsid sleep 62 & touch begun; sleep 60'] }], {
      signal: abort.signal,
    })
    running.catch(() => undefined)
    await until(() => slots.files(one.name).exists('begun'))
    abort.abort()
    await expect(running).rejects.toMatchObject({ code: 'cancelled' })
    await until(
      async () =>
        !(await box.run(['sh', '-c', 'cat /proc/[0-9]*/cmdline | tr "\\0" " "'])).stdout.includes('sleep 62 '),
    )
    expect((await sh(one, 'echo on')).stdout).toBe('on\n')
    const [again] = await slots.batch([{ slot: one.name, argv: ['echo', 'on'] }])
    expect(again!.result!.stdout).toBe('on\n')
  })

  test('a command that stops or kills what keeps its slot harms that slot only, and no deadline', async () => {
    const [bad, good] = await Promise.all([create(), create()])
    const stop = `import os, signal, time
for pid in os.listdir("/proc"):
    try:
        if pid.isdigit() and int(pid) != os.getpid():
            os.kill(int(pid), signal.SIGSTOP)
    except OSError:
        pass
time.sleep(60)`
    const input = 'x'.repeat(3_000_000)
    const began = slots.batch(
      [
        { slot: bad.name, argv: ['python3', '-c', stop], timeoutMs: 300 },
        { slot: bad.name, argv: ['wc', '-c'], input },
        { slot: good.name, argv: ['echo', 'fine'] },
        { slot: bad.name, argv: ['sh', '-c', 'kill -9 -1; sleep 60'] },
        { slot: bad.name, argv: ['echo', 'still'] },
      ],
      {},
    )
    expect((await slots.run(good.name, ['echo', 'fine'])).stdout).toBe('fine\n')
    const results = await began
    expect(results.map(({ result, error }) => error?.code ?? [result!.exitCode, result!.stdout])).toEqual([
      [124, ''],
      [0, `${input.length}\n`],
      [0, 'fine\n'],
      [137, ''],
      [0, 'still\n'],
    ])
    expect(await slots.run(bad.name, ['python3', '-c', stop], { timeoutMs: 300 })).toMatchObject({
      exitCode: 124,
      timedOut: true,
    })
    expect((await slots.reset(bad.name)).isClean).toBe(true)
    expect((await sh(bad, 'echo on')).stdout).toBe('on\n')
  })

  test('a reset right after another is as clean', async () => {
    const slot = await create()
    for (let again = 0; again < 10; again++) {
      expect(await slots.reset(slot.name)).toMatchObject({ isClean: true, left: [] })
    }
    const other = await create()
    await slots.remove(other.name)
  })

  test('a creation that was given up leaves no slot', async () => {
    const abort = new AbortController()
    const name = `given-up-${++count}`
    const made = slots.create({ name, pidsLimit: 64, isolation }, { signal: abort.signal })
    made.catch(() => undefined)
    await new Promise((done) => setImmediate(done)) // it is on its way now
    abort.abort()
    await expect(made).rejects.toMatchObject({ code: 'cancelled' })
    await create() // made after it
    await until(async () => (await slots.list()).every((slot) => slot.name !== name))
  })

  test('a shell keeps directory, variables and functions; its end is told and it begins anew', async () => {
    const slot = await create()
    await using shell = slots.shell(slot.name)
    await shell.run('mkdir d; cd d; X="a  b"; f() { echo "f $X"; }; set -f')
    expect(await shell.run('f; pwd; echo err >&2; printf no-newline; false')).toMatchObject({
      exitCode: 1,
      stdout: `f a  b\n${slot.home}/d\nno-newline`,
      stderr: 'err\n',
      cwd: `${slot.home}/d`,
      hasEnded: false,
    })
    expect((await shell.run('cat; read y; echo "got $y"; exec 1>/dev/null 3>&1; echo lost')).stdout).toBe('got \n')
    expect(await shell.run('echo begun >&2; sleep 60', { timeoutMs: 200 })).toMatchObject({
      exitCode: 124,
      timedOut: true,
      hasEnded: true,
      stderr: 'begun\n',
    })
    expect(await shell.run('pwd; echo "${X-unset}"')).toMatchObject({ stdout: `${slot.home}\nunset\n`, exitCode: 0 })
    expect(await shell.run('echo bye; exit 7')).toMatchObject({ exitCode: 7, stdout: 'bye\n', hasEnded: true })
    expect((await shell.run('head -c 3000000 /dev/zero | tr "\\0" x', { maxOutputBytes: 10 })).stdout).toBe(
      'xxxxxxxxxx',
    )
    await shell.run('sleep 63 & disown')
    await shell.kill()
    expect((await shell.run('echo again')).stdout).toBe('again\n')
  })

  test('what cannot be given is refused by name', async () => {
    const slot = await create()
    const code = (call: Promise<unknown>): Promise<unknown> =>
      call.then(
        () => 'resolved',
        (error: unknown) => (AnyplaceError.is(error) ? error.code : error),
      )
    const { uids } = await slots.info()
    expect(await code(create({ name: slot.name }))).toBe('already-exists')
    expect(await code(create({ uid: slot.uid }))).toBe('conflict')
    expect(await code(create({ uid: 1000 }))).toBe('invalid-argument')
    expect(await code(create({ uidRange: { first: uids.first + uids.count, count: 1 } }))).toBe('invalid-argument')
    expect(await code(create({ workspaceBase: 'data' }))).toBe('invalid-argument')
    if (engine.name === 'docker') expect(await code(create({ isolation: 'namespace' }))).toBe('unsupported')
    expect(await code(create({ template: '/no/such' }))).toBe('file-not-found')
    expect(await code(create({ pidsLimit: 0 }))).toBe('invalid-argument')
    expect(await code(slots.run('nobody', ['true']))).toBe('not-found')
    expect(await code(slots.run(slot.name, ['true'], { user: '0' }))).toBe('unsupported')
    await slots.remove(slot.name)
    await slots.remove(slot.name)
    expect(await code(slots.run(slot.name, ['true']))).toBe('not-found')
    expect(await asRoot(`ls -d ${slot.home} 2>/dev/null`)).toBe('')
  })

  test('artifacts of a slot, and no way out of its home', async () => {
    const slot = await create()
    const files = slots.files(slot.name)
    await files.write('out/result.txt', 'fine')
    expect((await files.list('out')).entries.map((entry) => entry.path)).toEqual(['result.txt'])
    expect((await files.archive('.', { format: 'zip' })).entries).toBeGreaterThan(0)
    await expect(files.write('/etc/passwd', 'x')).rejects.toMatchObject({ code: 'permission-denied' })
    await expect(files.write('/tmp/../opt/x', 'x')).rejects.toMatchObject({ code: 'permission-denied' })
  })
}

async function until(check: () => Promise<boolean>): Promise<void> {
  while (!(await check())) await new Promise((done) => setTimeout(done, 20))
}
