import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { verifies } from '../verifies.ts'

const MiB = 1024 * 1024

verifies('streams:stdin-back-pressure', async ({ box, directory }) => {
  const sandbox = await box()
  const here = await directory()
  const size = 10 * MiB
  const process = await sandbox.spawn(['sh', '-c', 'until [ -e go ]; do sleep 0.05; done; sha256sum'], {
    cwd: here,
    stdin: 'pipe',
    timeoutMs: 50_000,
  })
  assert.ok(process.stdin)
  const writer = process.stdin.getWriter()
  const hash = createHash('sha256')
  let accepted = 0
  const writing = (async () => {
    for (let sent = 0; sent < size; sent += 64 * 1024) {
      const chunk = randomBytes(64 * 1024)
      hash.update(chunk)
      await writer.ready
      await writer.write(chunk)
      accepted += chunk.byteLength
    }
    await writer.close()
  })()
  // wait until the writer stands still: nobody reads, so it must, long before the end
  for (let before = -1; before !== accepted;) {
    before = accepted
    await sleep(700)
  }
  assert.ok(accepted < size - MiB, `a command that reads nothing took ${accepted} of ${size} bytes`)
  await sandbox.files.write(`${here}/go`, '')
  const [output] = await Promise.all([new Response(process.stdout).text(), writing])
  assert.equal(output.split(' ')[0], hash.digest('hex'))
  assert.equal((await process.wait()).exitCode, 0)
})

verifies('streams:stalled-reader', async ({ box }) => {
  const sandbox = await box()
  const stalled = await sandbox.spawn(['sh', '-c', 'cat /dev/zero'])
  const reader = stalled.stdout.getReader()
  await reader.read()
  for (let number = 0; number < 10; number += 1) {
    assert.equal((await sandbox.run(['echo', `${number}`], { timeoutMs: 20_000 })).stdout, `${number}\n`)
  }
  const big = await sandbox.run(['head', '-c', `${8 * MiB}`, '/dev/zero'], { timeoutMs: 20_000 })
  assert.equal(big.stdoutBytes.byteLength, 8 * MiB)
  assert.equal(
    Buffer.from(
      await (async () => (await sandbox.files.write('.stalled', 'x'), sandbox.files.read('.stalled')))(),
    ).toString(),
    'x',
  )
  await stalled.kill()
})

verifies('streams:back-pressure', async ({ box, directory }) => {
  const sandbox = await box()
  const here = await directory()
  const total = 300 * MiB
  // dd tells on stderr, at its end only, so a file tells how far it is
  const process = await sandbox.spawn(
    ['sh', '-c', `i=0; while [ $i -lt 300 ]; do head -c ${MiB} /dev/zero; i=$((i+1)); echo $i > progress; done`],
    { cwd: here },
  )
  const reader = process.stdout.getReader()
  let received = (await reader.read()).value?.byteLength ?? 0
  const progress = async (): Promise<number> =>
    Number((await sandbox.files.readText(`${here}/progress`).catch(() => '0')).trim())
  let before = -1
  for (let now = 0; before !== now; now = await progress()) {
    before = now
    await sleep(700)
  }
  assert.ok(before < 200, `the process wrote ${before} of 300 MiB though nobody read`)
  for (let part = await reader.read(); !part.done; part = await reader.read()) received += part.value.byteLength
  assert.equal(received, total)
  assert.equal((await process.wait()).exitCode, 0)
})
