import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import {
  chmod,
  lstat,
  mkdir,
  open as openFile,
  readFile,
  readdir,
  readlink,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { join } from 'node:path'
import { verifies } from '../verifies.ts'

verifies('files:many-small', async ({ box, directory, temporaryDirectory }) => {
  const sandbox = await box()
  const here = await directory()
  const local = await temporaryDirectory()
  for (let folder = 0; folder < 100; folder += 1) {
    await mkdir(join(local, 'in', `d${folder}`), { recursive: true })
    await Promise.all(
      Array.from({ length: 100 }, (_, file) =>
        writeFile(join(local, 'in', `d${folder}`, `f${file}`), `${folder}/${file}`),
      ),
    )
  }
  let seen = 0
  const up = await sandbox.files.upload(join(local, 'in'), `${here}/tree`, {
    onProgress: ({ files }) => (seen = Math.max(seen, files)),
  })
  assert.equal(up.files, 10_000)
  assert.equal(seen, 10_000)
  const counted = await sandbox.shell('find tree -type f | wc -l; cat tree/d42/f7', { cwd: here })
  assert.equal(counted.stdout.replaceAll(' ', ''), '10000\n42/7')
  const down = await sandbox.files.download(`${here}/tree`, join(local, 'out'))
  assert.equal(down.files, 10_000)
  for (let folder = 0; folder < 100; folder += 1) {
    assert.equal((await readdir(join(local, 'out', `d${folder}`))).length, 100)
    assert.equal(await readFile(join(local, 'out', `d${folder}`, 'f99'), 'utf8'), `${folder}/99`)
  }
})

verifies('files:big', async ({ open, temporaryDirectory }) => {
  const sandbox = await open()
  const local = await temporaryDirectory()
  const size = 1024 * 1024 * 1024
  // sparse, with a mark in every block: as long as a full one, without filling the disk here
  const block = Buffer.alloc(4 * 1024 * 1024)
  const hash = createHash('sha256')
  const file = await openFile(join(local, 'big'), 'w')
  await file.truncate(size)
  for (let offset = 0; offset < size; offset += block.length) {
    block.writeUInt32BE(offset / block.length)
    hash.update(block)
    await file.write(block.subarray(0, 4), 0, 4, offset)
  }
  await file.close()
  const expected = hash.digest('hex')
  const before = process.memoryUsage().rss
  let peak = 0
  const watch = setInterval(() => (peak = Math.max(peak, process.memoryUsage().rss)), 20)
  try {
    assert.equal((await sandbox.files.upload(join(local, 'big'), 'big')).bytes, size)
    assert.equal((await sandbox.run(['sha256sum', 'big'])).stdout.split(' ')[0], expected)
    assert.equal((await sandbox.files.download('big', join(local, 'back'))).bytes, size)
  } finally {
    clearInterval(watch)
  }
  await assertMarked(join(local, 'back'), block, size)
  const grown = (peak - before) / 1024 / 1024
  assert.ok(grown < 256, `the client grew by ${grown.toFixed(0)} MiB over a file of 1024 MiB`)
})

/** Every byte is as it was sent. */
async function assertMarked(path: string, block: Buffer, size: number): Promise<void> {
  let blocks = 0
  for await (const chunk of createReadStream(path, { highWaterMark: block.length })) {
    block.writeUInt32BE(blocks)
    assert.ok(block.equals(chunk as Buffer), `block ${blocks} differs`)
    blocks += 1
  }
  assert.equal(blocks * block.length, size)
}

verifies('files:mode-and-time', async ({ box, directory, temporaryDirectory }) => {
  const sandbox = await box()
  const here = await directory()
  const local = await temporaryDirectory()
  const when = new Date('2015-06-07T08:09:10Z')
  await mkdir(join(local, 'in', 'sub'), { recursive: true })
  for (const [name, mode] of [
    ['script', 0o755],
    ['plain', 0o640],
    ['sub/read-only', 0o444],
  ] as const) {
    await writeFile(join(local, 'in', name), name)
    await chmod(join(local, 'in', name), mode)
    await utimes(join(local, 'in', name), when, when)
  }
  await sandbox.files.upload(join(local, 'in'), `${here}/tree`)
  const there = await sandbox.files.stat(`${here}/tree/script`)
  assert.deepEqual([there.mode & 0o777, there.modifiedAt.getTime()], [0o755, when.getTime()])
  await sandbox.files.download(`${here}/tree`, join(local, 'out'))
  for (const [name, mode] of [
    ['script', 0o755],
    ['plain', 0o640],
    ['sub/read-only', 0o444],
  ] as const) {
    const back = await lstat(join(local, 'out', name))
    assert.deepEqual([back.mode & 0o777, back.mtimeMs], [mode, when.getTime()], name)
  }
})

verifies('files:links-kept', async ({ box, directory, temporaryDirectory }) => {
  const sandbox = await box()
  const here = await directory()
  const local = await temporaryDirectory()
  await mkdir(join(local, 'in', 'd'), { recursive: true })
  await writeFile(join(local, 'in', 'd', 'file'), 'x')
  await symlink('d/file', join(local, 'in', 'link'))
  await symlink('../d', join(local, 'in', 'd', 'loop'))
  await sandbox.files.upload(join(local, 'in'), `${here}/tree`)
  assert.equal((await sandbox.files.stat(`${here}/tree/link`)).target, 'd/file')
  assert.equal((await sandbox.run(['cat', `${here}/tree/link`])).stdout, 'x')
  await sandbox.files.download(`${here}/tree`, join(local, 'out'))
  assert.equal(await readlink(join(local, 'out', 'link')), 'd/file')
  assert.equal(await readlink(join(local, 'out', 'd', 'loop')), '../d')
})

verifies('files:single-file', async ({ box, directory, temporaryDirectory }) => {
  const sandbox = await box()
  const here = await directory()
  const local = await temporaryDirectory()
  await writeFile(join(local, 'one'), 'content')
  assert.deepEqual(await sandbox.files.upload(join(local, 'one'), `${here}/new/name`), { files: 1, bytes: 7 })
  assert.equal(await sandbox.files.readText(`${here}/new/name`), 'content')
  assert.deepEqual(await sandbox.files.download(`${here}/new/name`, join(local, 'deep', 'back')), {
    files: 1,
    bytes: 7,
  })
  assert.equal(await readFile(join(local, 'deep', 'back'), 'utf8'), 'content')
  assert.deepEqual(await readdir(join(local, 'deep')), ['back'])
})

verifies('files:exclude', async ({ box, directory, temporaryDirectory }) => {
  const sandbox = await box()
  const here = await directory()
  const local = await temporaryDirectory()
  for (const path of ['keep', 'skip/in', 'data/raw/big', 'data/rawer', 'skipped']) {
    await mkdir(join(local, 'in', path, '..'), { recursive: true })
    await writeFile(join(local, 'in', path), 'x')
  }
  const files = async (): Promise<readonly string[]> =>
    (await sandbox.files.list(`${here}/tree`, { recursive: true })).entries
      .filter((one) => one.type === 'file')
      .map((one) => one.path)
  await sandbox.files.upload(join(local, 'in'), `${here}/tree`, { exclude: ['skip', 'data/raw'] })
  assert.deepEqual(await files(), ['data/rawer', 'keep', 'skipped'])
  await sandbox.files.download(`${here}/tree`, join(local, 'out'), { exclude: ['data'] })
  assert.deepEqual((await readdir(join(local, 'out'))).sort(), ['keep', 'skipped'])
})
