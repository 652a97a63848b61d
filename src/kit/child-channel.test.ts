import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import type { MachineRunOptions } from '../spec/index.ts'
import { childChannel } from './child-channel.ts'
import { collectBytes } from './collect.ts'

const folder = mkdtempSync(join(tmpdir(), 'child-channel-'))
afterAll(() => {
  rmSync(folder, { recursive: true })
})

/** Not ps, which a small machine lacks. After the name come state, parent, group and session. */
const TELL_SESSION = 'read -r line </proc/$$/stat; set -- ${line##*)}; echo $4'

async function output(argv: readonly string[], options: MachineRunOptions = {}): Promise<string> {
  await using channel = await childChannel(argv, options)
  channel.stdin.end()
  const bytes = await collectBytes(channel.stdout, { maxBytes: 1e6 })
  await channel.exit
  return Buffer.from(bytes).toString()
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

describe('childChannel', () => {
  test('argv arrives unchanged and the environment is exactly what was given', async () => {
    process.env['PLANTED_TOKEN'] = 'do-not-pass'
    const words = ['a b', "it's", '$(id)', '-n', '', 'é\n', '--']
    expect(await output(['sh', '-c', `printf '[%s]' "$@"`, 'sh', ...words])).toBe(words.map((w) => `[${w}]`).join(''))
    expect((await output(['env'], { env: { PATH: '/usr/bin:/bin', ONE: '1' } })).split('\n').sort()).toEqual([
      '',
      'ONE=1',
      'PATH=/usr/bin:/bin',
    ])
    expect(await output(['env'])).toMatch(/^PATH=[^\n]+\n$/)
  })

  test('the three streams are apart and the end is told', async () => {
    await using channel = await childChannel(['sh', '-c', 'cat; echo err >&2; exit 3'])
    channel.stdin.end('in')
    const [stdout, stderr, exit] = await Promise.all([
      collectBytes(channel.stdout, { maxBytes: 100 }),
      collectBytes(channel.stderr, { maxBytes: 100 }),
      channel.exit,
    ])
    expect([Buffer.from(stdout).toString(), Buffer.from(stderr).toString()]).toEqual(['in', 'err\n'])
    expect(exit).toEqual({ exitCode: 3, signal: null })
    await using killed = await childChannel(['sh', '-c', 'kill -9 $$'])
    expect(await killed.exit).toEqual({ exitCode: null, signal: 'SIGKILL' })
  })

  test('what cannot start says why', async () => {
    const script = join(folder, 'script')
    writeFileSync(script, '#!/no/such/interpreter\n', { mode: 0o755 })
    writeFileSync(join(folder, 'plain'), 'x', { mode: 0o644 })
    const cases: [readonly string[], MachineRunOptions, string][] = [
      [['no-such-program-here'], {}, 'command-not-found'],
      [['/no/such/program'], {}, 'command-not-found'],
      [[script], {}, 'command-not-found'],
      [[join(folder, 'plain')], {}, 'command-not-executable'],
      [[folder], {}, 'command-not-executable'],
      [['true'], { cwd: join(folder, 'missing') }, 'file-not-found'],
      [['true'], { cwd: join(folder, 'plain') }, 'not-a-directory'],
      [[], {}, 'invalid-argument'],
      [['true', 'a\0b'], {}, 'invalid-argument'],
      [['true', '\uDCFF'], {}, 'invalid-argument'],
      [['true', 'x'.repeat(200_000)], {}, 'invalid-argument'],
      [['true'], { env: { NAME: 'a\0b' } }, 'invalid-argument'],
      [['true'], { signal: AbortSignal.abort() }, 'cancelled'],
    ]
    for (const [argv, options, code] of cases) {
      await expect(childChannel(argv, options), JSON.stringify(argv).slice(0, 50)).rejects.toMatchObject({ code })
    }
  })

  test('close ends the child, also one that ignores SIGTERM, and twice does no harm', async () => {
    const channel = await childChannel(['sh', '-c', 'trap "" TERM; echo $$; while :; do sleep 0.05; done'])
    const pid = await firstLine(channel.stdout)
    await Promise.all([channel.close(), channel.close()])
    await channel.close()
    expect(await channel.exit).toEqual({ exitCode: null, signal: 'SIGKILL' })
    expect(isAlive(pid)).toBe(false)
  })

  test('close leaves a detached child running, in a session of its own', async () => {
    const channel = await childChannel(['sh', '-c', `${TELL_SESSION}; exec sleep 60`], { detached: true })
    const session = await firstLine(channel.stdout)
    await channel.close()
    try {
      expect(isAlive(session)).toBe(true)
    } finally {
      process.kill(session, 'SIGKILL')
    }
    expect(await channel.exit).toEqual({ exitCode: null, signal: 'SIGKILL' })
  })

  test('no child is in our session, where a Ctrl-C at the terminal would reach it', async () => {
    const [sid, pid] = (await output(['sh', '-c', `${TELL_SESSION}; echo $$`])).trim().split('\n')
    expect(sid).toMatch(/^\d+$/)
    expect(sid).toBe(pid)
  })

  test('writing to a child that does not read fails the write and nothing else', async () => {
    // Without the listener of its own the stream's error would end this program; vitest reports that as a failure.
    await using channel = await childChannel(['sh', '-c', 'exec 0<&-; echo 1; exec sleep 60'])
    await firstLine(channel.stdout)
    const failure = await new Promise((resolve) => channel.stdin.write('x'.repeat(1e6), resolve))
    expect(failure).toMatchObject({ code: 'EPIPE' })
  })

  test('no file descriptor stays open', async () => {
    const count = (): number => readdirSync('/proc/self/fd').length
    await output(['true'])
    const before = count()
    for (let index = 0; index < 10; index++) {
      await output(['true'])
      await childChannel(['no-such-program-here']).catch(() => {})
      const channel = await childChannel(['sleep', '60'])
      await channel.close()
    }
    // Closed descriptors leave the event loop some turns later.
    await expect.poll(count, { timeout: 10_000 }).toBeLessThanOrEqual(before)
  })
})

async function firstLine(stream: AsyncIterable<Uint8Array>): Promise<number> {
  const iterator = stream[Symbol.asyncIterator]()
  let text = ''
  while (!text.includes('\n')) text += Buffer.from((await iterator.next()).value as Uint8Array).toString()
  return Number(text)
}
