import { execFileSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { RealDaemon } from '../../test/fixtures/real-daemon.ts'
import type { BootstrapOptions } from './bootstrap.ts'
import { compiledFor, keepCompiled } from './compiled.ts'
import { runProcess } from './run-process.ts'

/** Opens a daemon and gives what a command and a file job in it say. */
async function tried(options: BootstrapOptions): Promise<string> {
  const daemon = new RealDaemon()
  const session = await daemon.connect(options)
  try {
    await session.files.write('here', 'and here')
    const { stdout } = await runProcess(session, ['cat', 'here'])
    return stdout
  } finally {
    await session.close()
    await daemon.stop()
  }
}

test('the first daemon of an interpreter gives its compiled modules, and later ones run them', async () => {
  const options = { start: true, interpreter: 'the test machine' }
  expect(await tried(options)).toBe('and here')
  const given = compiledFor(options.interpreter)
  expect(given?.byteLength).toBeGreaterThan(50_000)
  expect(await tried(options)).toBe('and here')
  expect(compiledFor(options.interpreter)).toBe(given)

  // That they are what runs: others would say so.
  const script = `import marshal,sys
data=sys.stdin.buffer.read();at=4
made=marshal.loads(data[at:])
made["connector"]=compile("import os;os.write(2,b'the given ones run');os._exit(70)","x","exec")
sys.stdout.buffer.write(data[:at]+marshal.dumps(made))`
  const others = execFileSync('python3', ['-I', '-S', '-c', script], { input: given })
  keepCompiled('others', others)
  await expect(tried({ start: true, interpreter: 'others' })).rejects.toThrow(/the given ones run/)

  // Another version of Python compiles for itself.
  keepCompiled('older', Buffer.concat([Buffer.from([others[0]! ^ 1]), others.subarray(1)]))
  expect(await tried({ start: true, interpreter: 'older' })).toBe('and here')
})

test('several that open at once with none compiled each give their own', async () => {
  const options = { start: true, interpreter: 'at once' }
  expect(await Promise.all([tried(options), tried(options), tried(options)])).toEqual(Array(3).fill('and here'))
})

test('an answer that does not begin with them ends the start', async () => {
  const { bootstrap } = await import('./bootstrap.ts')
  const { childChannel } = await import('../kit/child-channel.ts')
  const daemon = new RealDaemon()
  const starting = bootstrap(
    (_argv, call) => childChannel(['sh', '-c', 'echo something else; cat'], call),
    daemon.config,
    { start: true, interpreter: 'a liar' },
  )
  await expect(starting).rejects.toMatchObject({ code: 'protocol-error' })
  expect(compiledFor('a liar')).toBeUndefined()
})
