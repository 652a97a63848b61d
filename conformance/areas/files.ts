import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { drain, eventually, failsWith } from '../expectations.ts'
import type { TestedSandbox } from '../target.ts'
import { verifies } from '../verifies.ts'

verifies('files:round-trip', async ({ box, directory }) => {
  const { files, run } = await bound(box)
  const here = await directory()
  const every = Uint8Array.from({ length: 256 }, (_, index) => index)
  const large = randomBytes(5 * 1024 * 1024 + 17)
  for (const [name, content] of [
    ['empty', new Uint8Array()],
    ['every', every],
    ['large', large],
  ] as const) {
    await files.write(`${here}/${name}`, content)
    assert.ok(Buffer.from(content).equals(await files.read(`${here}/${name}`)), `${name} differs`)
    const { stdout } = await run(['sha256sum', `${here}/${name}`])
    assert.equal(stdout.split(' ')[0], createHash('sha256').update(content).digest('hex'))
  }
  await files.write(`${here}/text`, 'größe\n漢字')
  assert.equal(await files.readText(`${here}/text`), 'größe\n漢字')
  await files.write(`${here}/text`, 'short')
  assert.equal(await files.readText(`${here}/text`), 'short')
})

verifies('files:atomic-write', async ({ box, directory }) => {
  const sandbox = await box()
  const here = await directory()
  const content = (letter: string): string => letter.repeat(300_000)
  await sandbox.files.write(`${here}/file`, content('a'))
  const reader = await sandbox.spawn(
    [
      'sh',
      '-c',
      'while [ ! -e stop ]; do head -c 400000 file | tr -s ab | tr -d "\\n"; head -c 400000 file | wc -c; done',
    ],
    { cwd: here, timeoutMs: 40_000 },
  )
  const seen = drain(reader.stdout)
  for (let round = 0; round < 25; round += 1)
    await sandbox.files.write(`${here}/file`, content(round % 2 === 0 ? 'b' : 'a'))
  await sandbox.files.write(`${here}/stop`, '')
  const lines = (await seen).toString().trim().split('\n')
  assert.ok(lines.length > 2, 'the reader saw nothing')
  for (const line of lines) assert.match(line.trim(), /^[ab] *300000$/)
  assert.deepEqual(
    (await sandbox.files.list(here)).entries.map((entry) => entry.path),
    ['file', 'stop'],
    'temporary files were left',
  )
})

verifies('files:write-stream', async ({ box, directory }) => {
  const { files } = await box()
  const here = await directory()
  async function* pieces(fail: boolean): AsyncGenerator<Uint8Array> {
    for (let index = 0; index < 40; index += 1) yield await Promise.resolve(new Uint8Array(50_000).fill(index))
    if (fail) throw new Error('the source broke')
  }
  await files.write(`${here}/file`, pieces(false))
  assert.equal((await files.stat(`${here}/file`)).sizeBytes, 2_000_000)
  assert.equal((await files.read(`${here}/file`)).at(-1), 39)
  await files.write(`${here}/file`, 'old')
  await assert.rejects(files.write(`${here}/file`, pieces(true)))
  assert.equal(await files.readText(`${here}/file`), 'old')
  await eventually('the half of a file is gone', async () => (await files.list(here)).total === 1)
})

verifies('files:read-range', async ({ box, directory }) => {
  const { files } = await box()
  const path = `${await directory()}/file`
  await files.write(path, '0123456789')
  const part = async (range: { offset?: number; length?: number }) =>
    (await drain(await files.readStream(path, range))).toString()
  assert.equal(await part({}), '0123456789')
  assert.equal(await part({ offset: 3 }), '3456789')
  assert.equal(await part({ offset: 3, length: 4 }), '3456')
  assert.equal(await part({ length: 0 }), '')
  assert.equal(await part({ offset: 8, length: 100 }), '89')
  assert.equal(await part({ offset: 50 }), '')
})

verifies('files:read-cap', async ({ box, directory }) => {
  const { files } = await box()
  const path = `${await directory()}/file`
  await files.write(path, new Uint8Array(1001))
  await failsWith(files.read(path, { maxBytes: 1000 }), 'resource-exhausted')
  assert.equal((await files.read(path, { maxBytes: 1001 })).byteLength, 1001)
})

verifies('files:list', async ({ box, directory }) => {
  const { files, run } = await bound(box)
  const here = await directory()
  await run(['sh', '-c', 'mkdir -p d/e && echo hello >d/e/f && ln -s d/e/f link && mkfifo pipe && echo x >a'], {
    cwd: here,
  })
  const flat = await files.list(here)
  assert.deepEqual(
    flat.entries.map((one) => [one.path, one.type]),
    [
      ['a', 'file'],
      ['d', 'directory'],
      ['link', 'symlink'],
      ['pipe', 'other'],
    ],
  )
  assert.deepEqual([flat.total, flat.truncated], [4, false])
  assert.equal(flat.entries[2]?.target, 'd/e/f')
  const deep = await files.list(here, { recursive: true })
  assert.deepEqual(
    deep.entries.map((one) => one.path),
    ['a', 'd', 'd/e', 'd/e/f', 'link', 'pipe'],
  )
  assert.equal(deep.entries[3]?.sizeBytes, 6)
  assert.ok(
    (await files.list()).entries.some((one) => one.path === here),
    'without a path the workdir is listed',
  )
})

verifies('files:list-cap', async ({ box, directory }) => {
  const { files, run } = await bound(box)
  const here = await directory()
  await run(['sh', '-c', 'for n in $(seq 100 139); do : >$n; done'], { cwd: here })
  const { entries, total, truncated } = await files.list(here, { maxEntries: 7 })
  assert.deepEqual([entries.length, total, truncated], [7, 40, true])
  assert.deepEqual(
    entries.map((one) => one.path),
    ['100', '101', '102', '103', '104', '105', '106'],
  )
  assert.equal((await files.list(here, { maxEntries: 40 })).truncated, false)
})

verifies('files:parents', async ({ box, directory }) => {
  const { files } = await box()
  const here = await directory()
  await files.write(`${here}/a/b/c`, 'x', { mode: 0o750 })
  assert.equal((await files.stat(`${here}/a/b/c`)).mode & 0o777, 0o750)
  await files.write(`${here}/a/b/c`, 'y')
  assert.equal((await files.stat(`${here}/a/b/c`)).mode & 0o777, 0o750, 'a replaced file keeps its mode')
  await files.makeDirectory(`${here}/d/e`)
  await files.makeDirectory(`${here}/d/e`)
  assert.equal((await files.stat(`${here}/d/e`)).type, 'directory')
  await failsWith(files.makeDirectory(`${here}/a/b/c`), 'file-exists', 'not-a-directory')
})

verifies('files:remove', async ({ box, directory }) => {
  const { files, run } = await bound(box)
  const here = await directory()
  await run(
    [
      'sh',
      '-c',
      'mkdir -p full/sub keep && echo x >full/sub/f && echo x >keep/f && ln -s ../keep full/link && echo x >one',
    ],
    { cwd: here },
  )
  await files.remove(`${here}/one`)
  assert.equal(await files.exists(`${here}/one`), false)
  await failsWith(files.remove(`${here}/one`), 'file-not-found')
  await files.remove(`${here}/one`, { force: true })
  await failsWith(files.remove(`${here}/full`), 'is-a-directory')
  await files.remove(`${here}/full`, { recursive: true })
  assert.equal(await files.exists(`${here}/full`), false)
  assert.equal(await files.readText(`${here}/keep/f`), 'x\n', 'a link was followed')
})

verifies('files:stat', async ({ box, directory }) => {
  const { files, run } = await bound(box)
  const here = await directory()
  await run(
    [
      'sh',
      '-c',
      'echo hello >f && chmod 4711 f && touch -d 2001-02-03T04:05:06Z f && ln -s f l && ln -s nowhere broken',
    ],
    { cwd: here },
  )
  const file = await files.stat(`${here}/f`)
  assert.deepEqual(
    [file.type, file.sizeBytes, file.mode, file.modifiedAt.toISOString()],
    ['file', 6, 0o4711, '2001-02-03T04:05:06.000Z'],
  )
  const link = await files.stat(`${here}/l`)
  assert.deepEqual([link.type, link.target], ['symlink', 'f'])
  assert.equal((await files.stat(`${here}/broken`)).target, 'nowhere')
  assert.equal((await files.stat(here)).type, 'directory')
})

verifies('files:relative', async ({ box, directory }) => {
  const { files, run, workdir } = await bound(box)
  const here = await directory()
  await files.write(`${here}/file`, 'x')
  assert.equal((await run(['cat', `${workdir}/${here}/file`])).stdout, 'x')
  assert.equal(await files.readText(`${workdir}/${here}/file`), 'x')
  assert.equal(await files.readText(`./${here}/../${here}/file`), 'x')
})

verifies('files:as-user', async ({ box, directory }) => {
  const { files, run } = await bound(box)
  const here = await directory()
  await files.write(`${here}/file`, 'x')
  const ids = (await run(['sh', '-c', 'echo $(id -u) $(id -g)'])).stdout.trim()
  const { uid, gid } = await files.stat(`${here}/file`)
  assert.equal(`${uid} ${gid}`, ids)
})

/** The sandbox with its methods bound, so that they can be taken apart. */
async function bound(box: () => Promise<TestedSandbox>) {
  const sandbox = await box()
  return { files: sandbox.files, workdir: sandbox.workdir, run: sandbox.run.bind(sandbox) }
}
