import { expect, test } from 'vitest'
import { AnyplaceError } from '../../src/spec/index.ts'
import { inEverySlotPlace, until } from '../support/slot-places.ts'

// Real slots in real sandboxes: commands, batches, shells, and what is refused.

await inEverySlotPlace((place) => {
  const { create, sh, asRoot } = place

  test('a batch keeps order, failures stay apart, and slots work side by side', async () => {
    const mine = await Promise.all([create(), create(), create()])
    const [one, other, third] = mine.map((slot) => slot.name) as [string, string, string]
    const seen: number[] = []
    const results = await place.slots.batch(
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
    await place.slots.reset(one)
  })

  test('one deadline for a batch, and a cancel that leaves nothing running', async () => {
    const [one, other] = await Promise.all([create(), create()])
    const late = await place.slots.batch(
      [
        { slot: one.name, argv: ['sh', '-c', 'echo begun; sleep 60'] },
        { slot: one.name, argv: ['true'] },
        { slot: other.name, argv: ['true'] },
      ],
      { timeoutMs: 400 },
    )
    expect(late.map(({ result, error }) => error?.code ?? result!.exitCode)).toEqual([124, 'timeout', 0])
    const abort = new AbortController()
    const running = place.slots.batch(
      [{ slot: one.name, argv: ['sh', '-c', 'setsid sleep 62 & touch begun; sleep 60'] }],
      {
        signal: abort.signal,
      },
    )
    running.catch(() => undefined)
    await until(() => place.slots.files(one.name).exists('begun'))
    abort.abort()
    await expect(running).rejects.toMatchObject({ code: 'cancelled' })
    await until(
      async () =>
        !(await place.box.run(['sh', '-c', 'cat /proc/[0-9]*/cmdline | tr "\\0" " "'])).stdout.includes('sleep 62 '),
    )
    expect((await sh(one, 'echo on')).stdout).toBe('on\n')
    const [again] = await place.slots.batch([{ slot: one.name, argv: ['echo', 'on'] }])
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
    const began = place.slots.batch(
      [
        { slot: bad.name, argv: ['python3', '-c', stop], timeoutMs: 300 },
        { slot: bad.name, argv: ['wc', '-c'], input },
        { slot: good.name, argv: ['echo', 'fine'] },
        { slot: bad.name, argv: ['sh', '-c', 'kill -9 -1; sleep 60'] },
        { slot: bad.name, argv: ['echo', 'still'] },
      ],
      {},
    )
    expect((await place.slots.run(good.name, ['echo', 'fine'])).stdout).toBe('fine\n')
    const results = await began
    expect(results.map(({ result, error }) => error?.code ?? [result!.exitCode, result!.stdout])).toEqual([
      [124, ''],
      [0, `${input.length}\n`],
      [0, 'fine\n'],
      [137, ''],
      [0, 'still\n'],
    ])
    expect(await place.slots.run(bad.name, ['python3', '-c', stop], { timeoutMs: 300 })).toMatchObject({
      exitCode: 124,
      timedOut: true,
    })
    expect((await place.slots.reset(bad.name)).isClean).toBe(true)
    expect((await sh(bad, 'echo on')).stdout).toBe('on\n')
  })

  test('a creation that was given up leaves no slot', async () => {
    const abort = new AbortController()
    const name = `given-up`
    const made = place.slots.create({ name, pidsLimit: 64, isolation: place.isolation }, { signal: abort.signal })
    made.catch(() => undefined)
    await new Promise((done) => setImmediate(done)) // it is on its way now
    abort.abort()
    await expect(made).rejects.toMatchObject({ code: 'cancelled' })
    await create() // made after it
    await until(async () => (await place.slots.list()).every((slot) => slot.name !== name))
  })

  test('a shell keeps directory, variables and functions; its end is told and it begins anew', async () => {
    const slot = await create()
    await using shell = place.slots.shell(slot.name)
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
    const { uids } = await place.slots.info()
    expect(await code(create({ name: slot.name }))).toBe('already-exists')
    expect(await code(create({ uid: slot.uid }))).toBe('conflict')
    expect(await code(create({ uid: 1000 }))).toBe('invalid-argument')
    expect(await code(create({ uidRange: { first: uids.first + uids.count, count: 1 } }))).toBe('invalid-argument')
    expect(await code(create({ workspaceBase: 'data' }))).toBe('invalid-argument')
    if (place.engine === 'docker' && place.isolation === 'user') {
      expect(await code(create({ isolation: 'namespace' }))).toBe('unsupported')
    }
    expect(await code(create({ template: '/no/such' }))).toBe('file-not-found')
    expect(await code(create({ pidsLimit: 0 }))).toBe('invalid-argument')
    expect(await code(place.slots.run('nobody', ['true']))).toBe('not-found')
    expect(await code(place.slots.run(slot.name, ['true'], { user: '0' }))).toBe('unsupported')
    await place.slots.remove(slot.name)
    await place.slots.remove(slot.name)
    expect(await code(place.slots.run(slot.name, ['true']))).toBe('not-found')
    expect(await asRoot(`ls -d ${slot.home} 2>/dev/null`)).toBe('')
  })
})
