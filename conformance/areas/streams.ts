import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { drain } from '../expectations.ts'
import { verifies } from '../verifies.ts'

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

async function hashOf(stream: AsyncIterable<Uint8Array>): Promise<{ readonly sha256: string; readonly bytes: number }> {
  const hash = createHash('sha256')
  let bytes = 0
  for await (const chunk of stream) {
    hash.update(chunk)
    bytes += chunk.byteLength
  }
  return { sha256: hash.digest('hex'), bytes }
}

verifies('streams:binary', async ({ box, directory }) => {
  const sandbox = await box()
  const here = await directory()
  const size = 64 * 1024 * 1024
  const made = await sandbox.shell(
    `cd ${here} && head -c ${size} /dev/urandom >a && head -c ${size} /dev/urandom >b && sha256sum a b`,
  )
  const [first, second] = made.stdout.split('\n').map((line) => line.split(' ')[0])
  const process = await sandbox.spawn(['sh', '-c', 'cat a & cat b >&2; wait'], { cwd: here })
  const [stdout, stderr, exit] = await Promise.all([hashOf(process.stdout), hashOf(process.stderr), process.wait()])
  assert.deepEqual(stdout, { sha256: first, bytes: size })
  assert.deepEqual(stderr, { sha256: second, bytes: size })
  assert.equal(exit.exitCode, 0)
})

verifies('streams:two-million-lines', async ({ box }) => {
  const expected = createHash('sha256')
  for (let start = 1; start <= 2_000_000; start += 10_000) {
    expected.update(Array.from({ length: 10_000 }, (_, index) => `${start + index}\n`).join(''))
  }
  const process = await (await box()).spawn(['seq', '1', '2000000'])
  const [stdout, exit] = await Promise.all([hashOf(process.stdout), process.wait()])
  assert.equal(stdout.sha256, expected.digest('hex'))
  assert.equal(exit.exitCode, 0)
})

verifies('streams:stdin-closed', async ({ box }) => {
  const sandbox = await box()
  const ran = await sandbox.run(['cat'], { timeoutMs: 30_000 })
  assert.deepEqual([ran.stdout, ran.exitCode, ran.timedOut], ['', 0, false])
  const spawned = await sandbox.spawn(['cat'], { timeoutMs: 30_000 })
  assert.equal(spawned.stdin, undefined)
  assert.equal((await spawned.wait()).exitCode, 0)
})

verifies('streams:stdin-input', async ({ box }) => {
  const sandbox = await box()
  const every = Uint8Array.from({ length: 256 * 1024 }, (_, index) => (index * 7 + (index >> 8)) % 256)
  assert.equal(sha256((await sandbox.run(['cat'], { input: every })).stdoutBytes), sha256(every))
  assert.equal((await sandbox.run(['cat'], { input: 'größe\n' })).stdout, 'größe\n')
  assert.equal((await sandbox.run(['wc', '-c'], { input: '' })).stdout.trim(), '0')
  async function* pieces(): AsyncGenerator<Uint8Array> {
    for (const piece of ['one ', 'two ', 'three']) yield Promise.resolve(new TextEncoder().encode(piece))
  }
  assert.equal((await sandbox.run(['cat'], { input: pieces() })).stdout, 'one two three')
})

verifies('streams:stdin-early-exit', async ({ box }) => {
  const sandbox = await box()
  const result = await sandbox.run(['sh', '-c', 'exit 3'], {
    input: new Uint8Array(8 * 1024 * 1024),
    timeoutMs: 30_000,
  })
  assert.deepEqual([result.exitCode, result.timedOut], [3, false])
  assert.equal((await sandbox.run(['echo', 'alive'])).stdout, 'alive\n')
})

verifies('streams:live', async ({ box, directory }) => {
  const sandbox = await box()
  const here = await directory()
  // the command ends only after the client has seen its first output and answered
  const process = await sandbox.spawn(['sh', '-c', 'echo first; until [ -e go ]; do sleep 0.05; done; echo second'], {
    cwd: here,
    timeoutMs: 40_000,
  })
  const seen: string[] = []
  for await (const line of process.lines()) {
    seen.push(line.text)
    if (line.text === 'first') await sandbox.files.write(`${here}/go`, '')
  }
  assert.deepEqual(seen, ['first', 'second'])
  assert.equal((await process.wait()).exitCode, 0)
  const chunks: string[] = []
  await sandbox.shell('echo out; echo err >&2', {
    onOutput: (stream, bytes) => void chunks.push(`${stream} ${Buffer.from(bytes).toString()}`),
  })
  assert.deepEqual(chunks.sort(), ['stderr err\n', 'stdout out\n'])
})

verifies('streams:lines', async ({ box }) => {
  const sandbox = await box()
  const process = await sandbox.spawn([
    'sh',
    '-c',
    String.raw`printf 'gr\303'; sleep 0.2; printf '\266\303\237e\n\nlast \360\237'; sleep 0.2; printf '\232\200'`,
  ])
  const lines = []
  for await (const line of process.lines()) lines.push(line)
  assert.deepEqual(
    lines,
    ['größe', '', 'last 🚀'].map((text) => ({ stream: 'stdout', text })),
  )
  const both = await sandbox.spawn([
    'sh',
    '-c',
    'for n in 1 2 3; do echo out $n; sleep 0.1; echo err $n >&2; sleep 0.1; done',
  ])
  const order: string[] = []
  for await (const { stream, text } of both.lines()) order.push(`${stream}:${text}`)
  const of = (stream: string): string[] => order.filter((line) => line.startsWith(stream))
  assert.deepEqual(
    of('stdout'),
    [1, 2, 3].map((number) => `stdout:out ${number}`),
  )
  assert.deepEqual(
    of('stderr'),
    [1, 2, 3].map((number) => `stderr:err ${number}`),
  )
})

verifies('streams:cap', async ({ box }) => {
  const sandbox = await box()
  const seq = ['seq', '-f', '%09.0f', '1', '100000']
  const run = (keep: 'head' | 'tail' | 'both') => sandbox.run(seq, { maxOutputBytes: 1000, keep })
  const whole = await sandbox.run(seq)
  assert.equal(whole.truncated, false)
  assert.equal(whole.stdoutBytes.byteLength, 1_000_000)
  const head = await run('head')
  const tail = await run('tail')
  const both = await run('both')
  for (const one of [head, tail, both]) assert.equal(one.truncated, true)
  assert.equal(head.stdout, whole.stdout.slice(0, 1000))
  assert.equal(tail.stdout, whole.stdout.slice(-1000))
  assert.ok(both.stdout.startsWith('000000001\n') && both.stdout.endsWith('000100000\n'))
  assert.ok(both.stdoutBytes.byteLength <= 1000)
  assert.equal((await sandbox.run(seq, { maxOutputBytes: 1_000_000 })).truncated, false)
  assert.equal((await drain((await sandbox.spawn(seq)).stdout)).byteLength, 1_000_000)
})
