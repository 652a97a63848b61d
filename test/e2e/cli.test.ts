import { spawnSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createConnection } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { doctor } from '../../src/index.ts'
import { BIN, runBin, startBin } from '../support/anyplace-bin.ts'
import type { BinCall } from '../support/anyplace-bin.ts'
import { onTerminal } from '../support/on-terminal.ts'

// Short: paths of sockets are limited.
const home = mkdtempSync('/tmp/anyplace-e2e-')
afterAll(() => rmSync(home, { recursive: true, force: true }))

const ENGINES = ['direct', 'docker'] as const
const expected = process.env['ANYPLACE_EXPECT']?.split(',') ?? []
const findings = await doctor({ on: 'local' })

describe.each(ENGINES)('the built command line on local/%s', (engine) => {
  const finding = findings.find(({ subject }) => subject === engine)
  if (finding?.status !== 'ok') {
    const why = finding?.message ?? 'doctor does not know it'
    test.skipIf(!expected.includes(engine))(`${engine} is not here: ${why}`, () => {
      expect.fail(`ANYPLACE_EXPECT names ${engine}, but: ${why}`)
    })
    return
  }
  const env: NodeJS.ProcessEnv = { ...process.env, ANYPLACE_HOME: home, ANYPLACE_ON: `local/${engine}`, TERM: 'xterm' }
  delete env['NO_COLOR']
  const run = (...words: string[]): Promise<BinCall> => runBin(words, env)
  const exec = (...command: string[]): Promise<BinCall> => run('exec', box, '--', ...command)
  let box = ''

  beforeAll(async () => {
    const opened = await run('open', '--timeout', '5m', '--max-lifetime', '10m')
    expect(opened).toMatchObject({ code: 0, err: '' })
    box = opened.out.trim()
    expect(opened.out).toBe(`${box}\n`)
  })
  afterAll(async () => {
    if (box !== '') expect(await run('rm', box)).toMatchObject({ code: 0, out: `${box}\n` })
    expect((await run('ps', '-q')).out).not.toContain(box || 'nothing')
  })

  async function running(): Promise<
    readonly { readonly id: string; readonly state: string; readonly argv: string[] }[]
  > {
    const { out } = await run('ps', box, '--json')
    const { processes } = JSON.parse(out) as { processes: { id: string; state: string; argv: string[] }[] }
    return processes.filter(({ state }) => state === 'running')
  }

  test('run: output apart, the exit code passed through, nothing left', async () => {
    const call = await run('run', '--', 'sh', '-c', 'echo out; echo err >&2; exit 7')
    expect(call).toMatchObject({ code: 7, out: 'out\n', err: 'err\n' })
    const { sandboxes } = JSON.parse((await run('ps', '--json')).out) as { sandboxes: { name: string }[] }
    const own = engine === 'direct' ? sandboxes : sandboxes.filter(({ name }) => name === box)
    expect(own.map(({ name }) => name)).toEqual([box])
  })

  test.each([
    [['true'], 0],
    [['sh', '-c', 'exit 125'], 125],
    [['sh', '-c', 'exit 255'], 255],
    [['no-such-program'], 127],
    [['/etc/passwd'], 126],
    [['sh', '-c', 'kill -9 $$'], 137],
    [['sh', '-c', 'kill -TERM $$'], 143],
  ])('exec %j ends with %i', async (command, code) => {
    expect((await exec(...command)).code).toBe(code)
  })

  test('words reach the program as they are', async () => {
    const words = ['a b', '', '--json', '-i', '--', '$(id)', '`id`', '\'"\\', 'new\nline', 'ü漢😀', '*']
    const { out } = await exec('sh', '-c', 'for word; do printf "%s\\0" "$word"; done', 'sh', ...words)
    expect(out.split('\0').slice(0, -1)).toEqual(words)
  })

  test('bytes of a word that are no UTF-8 reach the program too', async () => {
    // A shell gives them to the command line; Node cannot.
    const script = 'exec "$0" "$1" exec "$2" -- printf %s "$(printf \'a\\377b\')"'
    const { stdout } = spawnSync('sh', ['-c', script, process.execPath, BIN, box], { env })
    expect(stdout).toEqual(Buffer.from([0x61, 0xff, 0x62]))
  })

  test('binary output is exact', async () => {
    const script = 'i=0; while [ $i -lt 256 ]; do printf "\\\\$(printf %03o $i)"; i=$((i+1)); done'
    const { outBytes } = await exec('sh', '-c', script)
    expect([...outBytes]).toEqual(Array.from({ length: 256 }, (_, index) => index))
  })

  test('output comes as it is made', async () => {
    const { child, ended, printed } = startBin(
      ['exec', '-i', box, '--', 'sh', '-c', 'echo first; read x; echo "got $x"'],
      env,
    )
    await printed('first\n')
    child.stdin.end('word\n')
    expect(await ended).toMatchObject({ code: 0, out: 'first\ngot word\n' })
  })

  test('stdin is at its end without -i, and passed with it: 10 MiB come back', async () => {
    expect(await runBin(['exec', box, '--', 'cat'], env, Buffer.from('ignored'))).toMatchObject({ code: 0, out: '' })
    const input = randomBytes(10 * 1024 * 1024)
    const { code, outBytes } = await runBin(['exec', '-i', box, '--', 'cat'], env, input)
    expect(code).toBe(0)
    expect(digest(outBytes)).toBe(digest(input))
  })

  test('a command that reads no stdin is no failure', async () => {
    const call = await runBin(['exec', '-i', box, '--', 'true'], env, randomBytes(5 * 1024 * 1024))
    expect(call).toMatchObject({ code: 0, out: '', err: '' })
  })

  test('--timeout kills the command and says so', async () => {
    const call = await run('exec', '--timeout', '300ms', box, '--', 'sh', '-c', 'echo begun; sleep 60')
    expect(call).toMatchObject({ code: 124, out: 'begun\n' })
    expect(call.err).toContain('killed after its --timeout of 300ms')
    const json = await run('exec', '--json', '--timeout', '300ms', box, '--', 'sleep', '60')
    expect(json).toMatchObject({ code: 124, err: '' })
    expect(JSON.parse(json.out)).toMatchObject({ source: 'command', exitCode: 124, timedOut: true })
  })

  test('--json of a command', async () => {
    const { code, out, err } = await run('exec', '--json', box, '--', 'sh', '-c', "printf 'a\\377'; echo e >&2; exit 3")
    expect({ code, err }).toEqual({ code: 3, err: '' })
    expect(JSON.parse(out)).toEqual({
      source: 'command',
      exitCode: 3,
      signal: null,
      timedOut: false,
      oomKilled: false,
      durationMs: expect.any(Number),
      stdout: 'a\uFFFD',
      stdoutBase64: 'Yf8=',
      stderr: 'e\n',
      truncated: false,
      sandbox: box,
      processId: expect.any(String),
    })
  })

  test('variables, secrets, working directory', async () => {
    const call = await runBin(
      [
        'exec',
        '-e',
        'A=x y',
        '-e',
        'OWN',
        '--secret',
        'TOKEN',
        '-w',
        '/tmp',
        box,
        '--',
        'sh',
        '-c',
        'echo "$A|$OWN|$TOKEN|$PWD|$PLANTED"',
      ],
      { ...env, OWN: 'own', TOKEN: 'hunter2', PLANTED: 'no' },
    )
    expect(call).toMatchObject({ code: 0, out: 'x y|own|hunter2|/tmp|\n' })
    expect((await run('ps', box, '--json')).out).not.toContain('hunter2')
  })

  test.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
    '%s kills the tree of the command and ends with 130',
    async (signal) => {
      const { child, ended, printed } = startBin(['exec', box, '--', 'sh', '-c', 'sleep 61 & echo up; sleep 62'], env)
      await printed('up\n')
      child.kill(signal)
      expect(await ended).toMatchObject({ code: 130, err: '' })
      expect(await running()).toEqual([])
    },
  )

  test('a second signal leaves at once, also when nobody reads', async () => {
    const { child, ended } = startBin(['exec', box, '--', 'yes'], env)
    child.stdout.pause()
    await sleep(1000)
    child.kill('SIGINT')
    child.kill('SIGINT')
    const code = await new Promise<number | null>((resolve) => child.once('exit', resolve))
    expect(code).toBe(130)
    child.stdout.resume()
    await ended
    for (const { id } of await running()) expect(await run('kill', box, id)).toMatchObject({ code: 0 })
  })

  test('a reader that goes away ends the command without a word', async () => {
    const script = '"$0" "$1" exec "$2" -- yes | head -1; echo "${PIPESTATUS[0]}"'
    const { stdout, stderr } = spawnSync('bash', ['-c', script, process.execPath, BIN, box], { env, encoding: 'utf8' })
    expect({ stdout, stderr }).toEqual({ stdout: 'y\n141\n', stderr: '' })
    expect(await running()).toEqual([])
  })

  test('--detach, ps, logs, attach, kill', async () => {
    const started = await run(
      'exec',
      '--detach',
      box,
      '--',
      'sh',
      '-c',
      'echo one; echo err >&2; while [ ! -e go ]; do sleep 0.05; done; echo two; exit 9',
    )
    expect(started).toMatchObject({ code: 0, err: '' })
    const id = started.out.trim()
    expect((await running()).map((process) => process.id)).toEqual([id])
    expect((await run('ps', '-q', box)).out.split('\n')).toContain(id)
    expect(await run('logs', box, id)).toMatchObject({ code: 0, out: 'one\n', err: 'err\n' })
    const { out: soFar } = await run('logs', '--json', box, id)
    expect(JSON.parse(soFar)).toMatchObject({ source: 'command', running: true, stdout: 'one\n', stderr: 'err\n' })

    const following = startBin(['logs', '-f', box, id], env)
    await following.printed('one\n')
    const letGo = startBin(['attach', box, id], env)
    await letGo.printed('one\n')
    letGo.child.kill('SIGINT')
    expect((await letGo.ended).code).toBe(130)
    expect((await running()).map((process) => process.id)).toEqual([id])

    await exec('touch', 'go')
    expect(await following.ended).toMatchObject({ code: 0, out: 'one\ntwo\n', err: 'err\n' })
    expect(await run('attach', box, id)).toMatchObject({ code: 9, out: 'one\ntwo\n', err: 'err\n' })
    const lines = (await run('logs', '-f', '--json', box, id)).out
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
    expect(lines.at(-1)).toMatchObject({ source: 'command', type: 'exit', exitCode: 9 })
    const text = lines.filter(({ stream }) => stream === 'stdout').map(({ data }) => data)
    expect(text.join('')).toBe('one\ntwo\n')

    const { out: sleeper } = await run('exec', '-d', box, '--', 'sleep', '60')
    expect(await run('kill', box, sleeper.trim())).toMatchObject({ code: 0, out: sleeper })
    expect((await run('attach', box, sleeper.trim())).code).toBe(137)
  })

  test('a running process with much output: logs gives all of it and comes back', async () => {
    const { out } = await run(
      'exec',
      '-d',
      box,
      '--',
      'sh',
      '-c',
      'head -c 5000000 /dev/zero | tr "\\0" x; echo end; touch full; sleep 60',
    )
    const id = out.trim()
    while ((await exec('test', '-e', 'full')).code !== 0) await sleep(50)
    const logs = await run('logs', box, id)
    expect(logs.outBytes.length).toBe(5_000_004)
    await run('kill', box, id)
  })

  test('cp both ways', async () => {
    const here = mkdtempSync(join(home, 'cp-'))
    const data = randomBytes(300_000)
    mkdirSync(join(here, 'tree', 'deep dir'), { recursive: true })
    writeFileSync(join(here, 'tree', 'deep dir', '-file'), data)
    writeFileSync(join(here, 'tree', 'empty'), '')
    expect(await run('cp', join(here, 'tree'), `${box}:new`)).toMatchObject({
      code: 0,
      out: '2 files, 293.0 KiB\n',
      err: '',
    })
    expect((await exec('sh', '-c', 'cd new && find . -type f | sort')).out).toBe('./deep dir/-file\n./empty\n')
    expect(await run('cp', `${box}:new/.`, join(here, 'back'))).toMatchObject({ code: 0 })
    expect(readFileSync(join(here, 'back', 'deep dir', '-file'))).toEqual(data)
    const missing = await run('cp', '--json', `${box}:nothing`, here)
    expect(missing).toMatchObject({ code: 125, err: '' })
    expect(JSON.parse(missing.out)).toMatchObject({ source: 'anyplace', error: { code: 'file-not-found' } })
  })

  test('port carries bytes to a server inside', async () => {
    const server =
      'import socket\ns = socket.create_server(("127.0.0.1", 0))\nprint(s.getsockname()[1], flush=True)\n' +
      'while True:\n c, _ = s.accept()\n c.sendall(c.recv(99).upper())\n c.close()'
    const { out } = await run('exec', '-d', box, '--', 'python3', '-c', server)
    let port = ''
    while (!port.endsWith('\n')) port = (await run('logs', box, out.trim())).out
    const tunnel = startBin(['port', '--json', box, `0:${port.trim()}`], env)
    await tunnel.printed('\n')
    const { localPort, remotePort } = JSON.parse(tunnel.outSoFar()) as { localPort: number; remotePort: number }
    expect(remotePort).toBe(Number(port))
    const answer = await new Promise<string>((resolve, reject) => {
      const socket = createConnection(localPort, '127.0.0.1', () => socket.write('hello'))
      socket.once('data', (bytes) => resolve(bytes.toString()))
      socket.once('error', reject)
    })
    expect(answer).toBe('HELLO')
    tunnel.child.kill('SIGINT')
    expect((await tunnel.ended).code).toBe(130)
    await run('kill', box, out.trim())
  })

  test('extend, stats and the exit code of what is missing', async () => {
    const extended = JSON.parse((await run('extend', '--json', box, '8m')).out) as { expiresAt: string }
    expect(new Date(extended.expiresAt).getTime() - Date.now()).toBeGreaterThan(7 * 60_000)
    expect((await run('extend', box, '5h')).out).toContain('--max-lifetime allows no more')
    expect(JSON.parse((await run('stats', '--json', box)).out)).toMatchObject({
      source: 'anyplace',
      stats: { processes: expect.any(Number) },
    })
    const gone = await run('exec', 'no-such-box', '--', 'true')
    expect(gone).toMatchObject({ code: 125, out: '' })
    expect(gone.err).toMatch(/^anyplace: sandbox-not-found: No sandbox named "no-such-box"/)
    expect((await run('kill', box, 'p0')).err).toContain(`anyplace ps ${box}`)
  })

  test('shell: a real terminal, its size, Ctrl-C, the exit code, everything as before', async () => {
    const prompt = '[#$] $'
    const call = await onTerminal(['shell', box], env, [
      [prompt, 'stty size\n'],
      ['33 101', 'resize:40:120'],
      [prompt, 'sleep 0.3; stty size\n'],
      // A child prints it, so that the child is in the foreground when Ctrl-C comes.
      ['40 120', `sh -c 'echo T=$TERM; exec sleep 60'\n`],
      ['T=xterm', '\u0003'],
      [prompt, 'echo now=$((40+2)); exit 5\n'],
    ])
    expect(call, call.screen).toMatchObject({ code: 5, restored: true, timedOut: false })
    expect(call.screen).toContain('now=42')
    expect(await running()).toEqual([])
  })

  test('Ctrl-C at a terminal ends the command and nothing is said of a lost connection', async () => {
    const call = await onTerminal(['exec', box, '--', 'sh', '-c', 'echo up; sleep 60'], env, [['up', '\u0003']])
    expect(call).toMatchObject({ code: 130, restored: true, screen: 'up\r\n^C' })
    expect(await running()).toEqual([])
  })

  test('the terminal is restored when a signal ends the shell', async () => {
    const call = await onTerminal(['shell', box], env, [['[#$] $', 'signal:SIGTERM']])
    expect(call).toMatchObject({ code: 130, restored: true, timedOut: false })
  })

  test('kill -9 of the command line: a detached process goes on, what run made is collected', async () => {
    const victim = startBin(['run', '--', 'sh', '-c', 'echo up; sleep 60'], env)
    await victim.printed('up\n')
    victim.child.kill('SIGKILL')
    expect((await victim.ended).code).toBe(null)
    const report = JSON.parse((await run('gc', '--json')).out) as {
      removed: { name: string }[]
      kept: { name: string }[]
    }
    expect(report.kept.map(({ name }) => name)).toContain(box)
    const left = JSON.parse((await run('ps', '--json')).out) as {
      sandboxes: { name: string; owner?: { pid: number } }[]
    }
    expect(left.sandboxes.filter(({ owner }) => owner?.pid === victim.child.pid)).toEqual([])
  })
})

function digest(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
