import assert from 'node:assert/strict'
import { failsWith } from '../expectations.ts'
import type { Context } from '../context.ts'
import type { TestedOptions } from '../target.ts'
import { verifies } from '../verifies.ts'

/** A field that the engine cannot enforce: `open` names the field and the engine, and an engine that can. */
async function refused(context: Context, field: keyof TestedOptions, options: TestedOptions): Promise<void> {
  const engine = context.target.on.split('/').at(-1) ?? ''
  const before = await names(context)
  const failure = await failsWith(context.target.api.open(context.options(options)), 'unsupported')
  assert.equal(failure.field, field)
  assert.ok(failure.message.includes(field), `the message does not name ${field}: ${failure.message}`)
  assert.ok(failure.message.includes(engine), `the message does not name ${engine}: ${failure.message}`)
  const other = ['docker', 'podman', 'namespace', 'direct'].filter((name) => name !== engine)
  assert.ok(
    other.some((name) => failure.hint?.includes(name)),
    `no engine that can is named: ${failure.hint ?? 'no hint'}`,
  )
  assert.deepEqual(await names(context), before, 'a refused open left a sandbox')
}

async function names(context: Context): Promise<readonly string[]> {
  const seen = []
  for await (const info of context.target.api.list({ on: context.target.on })) seen.push(info.id)
  return seen.sort()
}

verifies('fields:image-refused', (context) => refused(context, 'image', { image: 'python:3.12-slim' }))
verifies('fields:cpu-limit-refused', (context) => refused(context, 'cpuLimit', { cpuLimit: 0.5 }))
verifies('fields:memory-limit-refused', (context) => refused(context, 'memoryLimitMiB', { memoryLimitMiB: 256 }))
verifies('fields:pids-limit-refused', (context) => refused(context, 'pidsLimit', { pidsLimit: 64 }))
verifies('fields:user-refused', (context) => refused(context, 'user', { user: '12345' }))
verifies('fields:network-off-refused', (context) => refused(context, 'network', { network: false }))
verifies('fields:mounts-refused', async (context) =>
  refused(context, 'mounts', { mounts: [{ source: await context.temporaryDirectory(), target: '/mnt/data' }] }),
)
verifies('fields:workspace-refused', async (context) =>
  refused(context, 'workspace', { workspace: await context.temporaryDirectory() }),
)

verifies('fields:idle-refused', async ({ options, target }) => {
  const failure = await failsWith(target.api.open(options({ idleTimeoutMs: 60_000 })), 'unsupported')
  assert.equal(failure.field, 'idleTimeoutMs')
})

verifies('fields:extend-refused', async ({ box }) => {
  await failsWith((await box()).extend(60_000), 'unsupported')
})

verifies('fields:volumes-refused', async ({ options, target }) => {
  const failure = await failsWith(
    target.api.open({ ...options(), volumes: { '/data': 'a-volume' } } as TestedOptions),
    'unsupported',
  )
  assert.equal(failure.field, 'volumes')
})

verifies('fields:gpu', async ({ options, target }) => {
  const failure = await failsWith(
    target.api.open(options({ gpu: { type: 'H100', count: 8 } })),
    'unsupported',
    'resource-exhausted',
  )
  assert.equal(failure.field, 'gpu')
  assert.match(failure.message, /gpu/i)
})

for (const [id, field] of [
  ['fields:cpu-total', 'cpu'],
  ['fields:memory-total', 'memoryMiB'],
] as const) {
  verifies(id, async ({ options, open, target }) => {
    const failure = await failsWith(
      target.api.open(options({ [field]: 10_000_000 })),
      'unsupported',
      'resource-exhausted',
      'invalid-argument',
    )
    assert.equal(failure.field, field)
    assert.match(failure.message, new RegExp(field))
    const box = await open({ [field]: 1 })
    assert.equal((await box.run(['echo', 'ok'])).stdout, 'ok\n')
  })
}

verifies('fields:wrong-values', async ({ options, target, temporaryDirectory }) => {
  const local = await temporaryDirectory()
  const wrong: readonly (readonly [string, TestedOptions])[] = [
    ['name', { name: '-x' }],
    ['name', { name: 'Has Spaces' }],
    ['name', { name: '../up' }],
    ['name', { name: '' }],
    ['name', { name: 'a'.repeat(64) }],
    ['cpuLimit', { cpuLimit: 0 }],
    ['cpuLimit', { cpuLimit: Number.NaN }],
    ['memoryLimitMiB', { memoryLimitMiB: -1 }],
    ['pidsLimit', { pidsLimit: 0.5 }],
    ['timeoutMs', { timeoutMs: 0 }],
    ['timeoutMs', { timeoutMs: Number.POSITIVE_INFINITY }],
    ['timeoutMs', { timeoutMs: 60_000, maxLifetimeMs: 1000 }],
    ['idleTimeoutMs', { idleTimeoutMs: -5 }],
    ['workdir', { workdir: 'relative' }],
    ['mounts', { mounts: [{ source: 'relative', target: '/mnt/data' }] }],
    ['mounts', { mounts: [{ source: local, target: 'relative' }] }],
    ['env', { env: { 'A=B': 'x' } }],
    ['env', { env: { A: 'x\0y' } }],
    ['on', { on: `${target.on.split('/')[0]}/no-such-engine` }],
    ['on', { on: '-x' }],
  ]
  for (const [field, value] of wrong) {
    const shown = JSON.stringify(value)
    const failure = await failsWith(target.api.open(options(value)), 'invalid-argument', 'not-found').catch(
      (error: unknown) => {
        throw new Error(`${shown}: ${String(error)}`, { cause: error })
      },
    )
    assert.ok(failure.field?.startsWith(field), `${shown}: field is ${failure.field}, message: ${failure.message}`)
  }
})

verifies('fields:powers-honest', async ({ box, powers }) => {
  const sandbox = await box()
  const { powers: told } = await sandbox.info()
  for (const [power, has] of Object.entries(told)) {
    assert.equal(has, powers.has(power as never), `info().powers.${power} is ${has}, but the target declares otherwise`)
  }
  const process = await sandbox.spawn(['sleep', '30'])
  if (!told.attach) await failsWith(sandbox.attach(process.id), 'unsupported')
  if (!told.pty) await failsWith(sandbox.spawn(['true'], { pty: { columns: 80, rows: 24 } }), 'unsupported')
  if (!told.tunnels) await failsWith(sandbox.connect(80), 'unsupported')
  if (!told.stats) await failsWith(sandbox.stats(), 'unsupported')
  if (!told.extend) await failsWith(sandbox.extend(60_000), 'unsupported')
  if (!told.spawnKeys) await failsWith(sandbox.spawn(['true'], { key: 'key' }), 'unsupported')
  await process.kill()
})
