// The examples of docs/sandboxes.md. Each region stands on its own there; here they run one after the other.
import { AnyplaceError, attach, CommandError, gc, list, open } from 'anyplace'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const directory = await mkdtemp(join(tmpdir(), 'anyplace-example-'))
const on = process.env['ANYPLACE_ON'] ?? 'local'

// #region run
await using box = await open({ on })
const result = await box.run(['sh', '-c', 'echo out; echo err >&2; exit 3'])
console.log(result.exitCode, result.stdout, result.stderr)

const slow = await box.run(['sh', '-c', 'echo started; sleep 60'], { timeoutMs: 200 })
console.log(slow.timedOut, slow.exitCode, slow.stdout) // true 124 started

try {
  await box.run(['false'], { check: true })
} catch (error) {
  if (error instanceof CommandError) console.log(error.result.exitCode)
}
// #endregion

// #region stdin
const sorted = await box.run(['sort'], { input: 'b\na\n' })
console.log(sorted.stdout)
// #endregion

// #region detached
await using lab = await open({ on, name: 'example-lab', timeoutMs: 60_000 })
const training = await lab.spawn(['sh', '-c', 'for i in 1 2 3; do echo epoch $i; sleep 0.1; done'])
await training.detach()
await lab.detach()

// in another process, perhaps after this one was killed:
const again = await attach('example-lab', { on })
const same = await again.attach(training.id)
for await (const line of same.lines()) console.log(line.text) // from the first byte
console.log((await same.wait()).exitCode)
await again.close()
// #endregion

// #region files
await box.files.write('data/in.csv', 'a,b\n1,2\n')
await box.run(['sh', '-c', 'wc -l <data/in.csv >data/lines.txt'], { check: true })
console.log(await box.files.readText('data/lines.txt'))
for (const entry of (await box.files.list('data')).entries) console.log(entry.path, entry.sizeBytes)
await box.files.download('data', join(directory, 'data'))
await box.files.upload(join(directory, 'data'), 'copy')
// #endregion

// #region errors
try {
  await box.files.read('no-such-file')
} catch (error) {
  if (AnyplaceError.is(error, 'file-not-found')) console.log(error.message)
}
// #endregion

// #region listing
for await (const info of list({ on })) console.log(info.name, info.state, info.expiresAt.toISOString())
const report = await gc({ on, dryRun: true })
console.log(report.removed.length)
// #endregion

await rm(directory, { recursive: true })
