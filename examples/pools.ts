// The snippets of docs/pools.md, in one program. ANYPLACE_ON says where: local/namespace (as root), local/docker, local/podman.
import { createPool, createPoolManager } from 'anyplace'
import type { ProfileInput } from 'anyplace'

const on = process.env['ANYPLACE_ON'] || 'local/namespace'
const image: ProfileInput = on.endsWith('namespace') ? {} : { image: 'python:3.12-slim' }
const small: ProfileInput = { on, ...image, cpu: 0.1, memoryMiB: 128, slotsPerSandbox: 4, maxSandboxes: 2 }

// #region first
await using pool = await createPool({ profile: small, name: 'docs' })
const lease = await pool.acquire('trajectory-1')
const result = await pool.execute(lease, 'bash', { command: 'pwd; echo $((6 * 7))' })
console.log(result.success, result.metadata.returncode, result.output) // true 0 /data/s0, 42
const report = await pool.release(lease)
console.log(report?.isClean) // true
// #endregion

// #region batch
const leases = await Promise.all(['a', 'b', 'c'].map((trajectory) => pool.acquire(trajectory)))
const results = await pool.executeBatch(
  leases.flatMap((one) => [
    { lease: one, tool: 'write_file', args: { path: 'answer.py', content: 'print(6 * 7)' } },
    { lease: one, tool: 'bash', args: { command: 'python3 answer.py' }, timeoutMs: 2000 },
    { lease: one, tool: 'bash', args: { command: 'cat missing' } },
  ]),
  { timeoutMs: 60_000 },
)
for (const { success, output, error, failure } of results.slice(0, 3)) {
  console.log(success, output.trim(), error, failure?.code)
}
// #endregion

// #region shell
const [first] = leases
if (first === undefined) throw new Error('no lease')
await pool.execute(first, 'bash_stateful', { command: 'cd /usr/lib; WHO=me; greet() { echo "hello $WHO"; }' })
console.log((await pool.execute(first, 'bash_stateful', { command: 'pwd; greet' })).output) // /usr/lib, hello me
// #endregion

// #region artifacts
const { entries } = await pool.artifacts(first).list()
const { content, sha256 } = await pool.artifacts(first).read('answer.py')
const archive = await pool.artifacts(first).archive('.', { format: 'zip', maxBytes: 1_000_000 })
console.log(entries.length, content, sha256.length, archive.entries)
// #endregion
await Promise.all(leases.map((one) => pool.release(one)))

// #region tenants
await using fair = await createPool({ profile: { ...small, maxSandboxes: 1 }, name: 'fair', tenants: { training: 3 } })
await using trained = await fair.acquire('step-1', { tenant: 'training', timeoutMs: 30_000, leaseMs: 60_000 })
await using evaluated = await fair.acquire('eval-1', { tenant: 'evaluation' })
console.log(trained.isolation, evaluated.slotId !== trained.slotId)
// #endregion

// #region manager
await using manager = await createPoolManager({ profiles: { default: small, big: { ...small, memoryMiB: 512 } } })
await manager.start() // the default profile only; others start when they are first needed
const [here, there] = await Promise.all([manager.acquire('x'), manager.acquire('y', { profile: 'big' })])
const both = await manager.executeBatch([
  { lease: here, tool: 'bash', args: { command: 'echo small' } },
  { lease: there, tool: 'bash', args: { command: 'echo big' } },
])
console.log(both.map(({ output }) => output.trim())) // [ 'small', 'big' ]
console.log(Object.keys(manager.status().pools)) // [ 'default', 'big' ]
// #endregion
