import assert from 'node:assert/strict'
import { verifies } from '../verifies.ts'

verifies('fields:cpu-limit', async ({ open }) => {
  const box = await open({ cpuLimit: 0.2 })
  assert.equal((await box.info()).limits.cpuLimit, 0.2)
  // the processor time that two busy loops got in two seconds; without a limit one core gives 200 ticks of 10 ms
  const { stdout } = await box.shell(
    '(while :; do :; done) & a=$!; (while :; do :; done) & b=$!; sleep 2; cat /proc/$a/stat /proc/$b/stat; kill -9 $a $b',
    { timeoutMs: 30_000 },
  )
  const ticks = stdout
    .trim()
    .split('\n')
    .map((line) => line.slice(line.lastIndexOf(')') + 2).split(' '))
    .map((fields) => Number(fields[11]) + Number(fields[12]))
  assert.equal(ticks.length, 2)
  const used = (ticks[0] ?? 0) + (ticks[1] ?? 0)
  assert.ok(used > 0 && used < 100, `two busy loops used ${used * 10} ms in about 2 s`)
})

verifies('fields:memory-limit', async ({ open }) => {
  const box = await open({ memoryLimitMiB: 128 })
  assert.equal((await box.info()).limits.memoryLimitMiB, 128)
  const fits = await box.shell('head -c 60000000 /dev/zero | tail -n 1 | wc -c')
  assert.equal(fits.stdout.trim(), '60000000', 'a command within the limit did not fit')
  const large = await box.shell('head -c 600000000 /dev/zero | tail -n 1 | wc -c', { timeoutMs: 40_000 })
  assert.notEqual(large.stdout.trim(), '600000000', 'a command above the limit was not stopped')
})

verifies('fields:pids-limit', async ({ open }) => {
  const box = await open({ pidsLimit: 50 })
  assert.equal((await box.info()).limits.pidsLimit, 50)
  const { stdout } = await box.shell('n=0; while [ $n -lt 200 ]; do sleep 20 & n=$((n+1)); echo $n; done 2>/dev/null', {
    timeoutMs: 30_000,
  })
  const started = stdout.trim().split('\n').length
  assert.ok(started >= 30 && started <= 50, `${started} of 200 processes were started under a limit of 50`)
})

verifies('fields:pids-limit-default', async ({ box }) => {
  assert.equal((await (await box()).info()).limits.pidsLimit, 4096)
})
