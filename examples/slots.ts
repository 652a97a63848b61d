// The examples of docs/slots.md. With ANYPLACE_ON=local/namespace (as root) the second half of the levels can be had too.
import { open } from 'anyplace'

const on = process.env['ANYPLACE_ON'] ?? 'local/docker'

// #region create
await using box = await open({ on, slots: 2 })
const { slots } = box
if (slots === undefined) throw new Error('This sandbox cannot hold slots.')
const [one, other] = await Promise.all([
  slots.create({ name: 'one', pidsLimit: 64, isolation: 'user' }),
  slots.create({ name: 'other', pidsLimit: 64, isolation: 'user', env: { SEED: '7' } }),
])
console.log(one.home, other.uid !== one.uid) // /data/one true
// #endregion

// #region batch
const results = await slots.batch(
  [
    { slot: 'one', argv: ['sh', '-c', 'echo mine > file; id -u'] },
    { slot: 'other', argv: ['cat', '/data/one/file'] }, // permission denied
    { slot: 'other', argv: ['sleep', '60'], timeoutMs: 100 },
  ],
  { timeoutMs: 10_000 },
)
for (const { slot, result, error } of results) console.log(slot, result?.exitCode ?? error?.code)
// #endregion

// #region shell
await using shell = slots.shell('one')
await shell.run('mkdir -p work && cd work && greet() { echo "hello $1"; }')
const said = await shell.run('greet world; pwd')
console.log(said.stdout, said.cwd)
// #endregion

// #region reset
await slots.run('one', ['sh', '-c', 'setsid sleep 1000 & touch ..hidden'])
const report = await slots.reset('one')
console.log(report.isClean, report.killedProcesses)
const scan = await slots.scan('one') // the whole sandbox, for the background
console.log(scan.total)
// #endregion
