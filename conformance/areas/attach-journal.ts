import assert from 'node:assert/strict'
import { eventually, failsWith } from '../expectations.ts'
import { verifies } from '../verifies.ts'

/** More than any journal keeps (64 MiB by default). Lines of 16 bytes that hold their own offset. */
const LINES = 6 * 1024 * 1024
const WRITE = ['seq', '-f', '%015.0f', '0', `${LINES - 1}`]

verifies('attach:output-discarded', async ({ open }) => {
  const box = await open()
  const process = await box.spawn(WRITE)
  await process.detach()
  await eventually(
    'it has ended',
    async () => (await box.processes()).some((one) => one.id === process.id && one.state === 'exited'),
    50_000,
  )
  const failure = await failsWith(box.attach(process.id), 'output-discarded')
  const first = Number(failure.data?.['firstOffset'])
  assert.ok(first > 0 && first < LINES * 16, `firstOffset is ${first}`)
  const again = await box.attach(process.id, { fromOffset: 'kept' })
  assert.deepEqual(again.fromOffset, { stdout: first, stderr: 0 })
  let bytes = 0
  let last = Buffer.alloc(0)
  let start = ''
  for await (const chunk of again.stdout) {
    if (bytes < 64) start += Buffer.from(chunk.subarray(0, 64)).toString()
    bytes += chunk.byteLength
    last = Buffer.concat([last, chunk]).subarray(-16)
  }
  assert.equal(bytes, LINES * 16 - first)
  assert.equal(last.toString(), `${String(LINES - 1).padStart(15, '0')}\n`)
  const skip = (16 - (first % 16)) % 16
  assert.equal(Number(start.slice(skip, skip + 15)), Math.ceil(first / 16), 'the bytes are not the ones of that offset')
  const later = await box.attach(process.id, { fromOffset: { stdout: first + 16 } })
  assert.deepEqual(later.fromOffset, { stdout: first + 16, stderr: 0 })

  // One that goes on discarding can be reached, and killed.
  const flood = await box.spawn(['yes'])
  await flood.detach()
  await eventually(
    'it discards',
    async () => {
      await using now = await box.attach(flood.id, { fromOffset: 'kept' })
      return now.fromOffset.stdout > 0
    },
    50_000,
  )
  await using reached = await box.attach(flood.id, { fromOffset: 'kept' })
  await reached.kill()
  assert.equal((await reached.wait()).signal, 'SIGKILL')
})

verifies('attach:block', async ({ open }) => {
  const box = await open()
  const process = await box.spawn(['sh', '-c', `${WRITE.join(' ')}; echo ended >&2`], { onDetachedOverflow: 'block' })
  await process.detach()
  const again = await box.attach(process.id)
  let bytes = 0
  for await (const chunk of again.stdout) bytes += chunk.byteLength
  assert.equal(bytes, LINES * 16)
  assert.equal((await again.wait()).exitCode, 0)
})
