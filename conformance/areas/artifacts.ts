import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { failsWith } from '../expectations.ts'
import { verifies } from '../verifies.ts'

verifies('artifacts:archive', async ({ box, directory }) => {
  const sandbox = await box()
  const here = await directory()
  await sandbox.shell('mkdir -p tree/sub && printf hello >tree/a && printf world >tree/sub/-b', { cwd: here })
  for (const format of ['tar', 'tar.gz', 'zip'] as const) {
    const { bytes, sha256, entries } = await sandbox.files.archive(`${here}/tree`, { format })
    assert.equal(sha256, createHash('sha256').update(bytes).digest('hex'))
    assert.ok(entries >= 2 && entries <= 4, `${entries} entries`)
    if (format === 'zip') {
      assert.equal(Buffer.from(bytes.subarray(0, 4)).toString('latin1'), 'PK\u0003\u0004')
      assert.ok(Buffer.from(bytes).includes('sub/-b'))
      continue
    }
    await sandbox.files.write(`${here}/archive`, bytes)
    await sandbox.run(['mkdir', `${here}/${format}`])
    const flags = format === 'tar' ? '-xf' : '-xzf'
    const { stdout, stderr } = await sandbox.shell(
      `tar ${flags} ../archive && cat $(find . -name a) $(find . -name '-b')`,
      { cwd: `${here}/${format}` },
    )
    assert.equal(stdout, 'helloworld', stderr)
  }
  const one = await sandbox.files.archive(`${here}/tree/a`, { format: 'tar' })
  assert.equal(one.entries, 1)
  assert.ok(Buffer.from(one.bytes).includes('hello'))
})

verifies('artifacts:caps', async ({ box, directory }) => {
  const sandbox = await box()
  const here = await directory()
  await sandbox.shell('mkdir tree && for n in 1 2 3 4 5 6; do head -c 20000 /dev/urandom >tree/$n; done', { cwd: here })
  await failsWith(sandbox.files.archive(`${here}/tree`, { maxEntries: 5 }), 'resource-exhausted')
  for (const format of ['tar', 'tar.gz', 'zip'] as const) {
    await failsWith(sandbox.files.archive(`${here}/tree`, { format, maxBytes: 50_000 }), 'resource-exhausted')
  }
  assert.ok((await sandbox.files.archive(`${here}/tree`)).bytes.byteLength >= 120_000)
})

verifies('artifacts:confined', async ({ box, directory }) => {
  const sandbox = await box()
  const here = await directory()
  await sandbox.shell(
    'mkdir tree && echo top-secret >secret && ln -s ../secret tree/link && ln -s "$PWD" tree/up && echo x >tree/x',
    { cwd: here },
  )
  for (const format of ['tar', 'zip'] as const) {
    const { bytes, entries } = await sandbox.files.archive(`${here}/tree`, { format })
    assert.equal(Buffer.from(bytes).includes('top-secret'), false, `${format} followed a link`)
    assert.ok(entries <= 4)
  }
})
