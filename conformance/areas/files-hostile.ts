import assert from 'node:assert/strict'
import { lstat, mkdir, readFile, readdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { verifies } from '../verifies.ts'

const NAMES = [
  'a b',
  '-rf',
  '--help',
  'new\nline',
  `"quo'te"`,
  '$(id)`id`',
  'größe 漢字 🚀',
  '*',
  '\\',
  ' ',
  '~',
  '#',
  ';ls',
  '%s',
]

verifies('files:hostile-names', async ({ box, directory, temporaryDirectory }) => {
  const sandbox = await box()
  const here = await directory()
  const local = await temporaryDirectory()
  for (const name of NAMES) {
    const path = `${here}/${name}/${name}`
    await sandbox.files.write(path, name)
    assert.equal(await sandbox.files.readText(path), name)
    assert.equal((await sandbox.files.stat(path)).sizeBytes, Buffer.byteLength(name))
    assert.equal((await sandbox.run(['cat', '--', `${name}/${name}`], { cwd: here })).stdout, name)
    assert.equal(
      (await sandbox.run(['pwd'], { cwd: `${here}/${name}` })).stdout,
      `${sandbox.workdir}/${here}/${name}\n`,
    )
  }
  const sorted = (paths: readonly string[]): string[] => [...paths].sort()
  assert.deepEqual(sorted((await sandbox.files.list(here)).entries.map((one) => one.path)), sorted(NAMES))
  await sandbox.files.download(here, join(local, 'out'))
  assert.deepEqual(sorted(await readdir(join(local, 'out'))), sorted(NAMES))
  for (const name of NAMES) assert.equal(await readFile(join(local, 'out', name, name), 'utf8'), name)
  await sandbox.files.upload(join(local, 'out'), `${here}/-again`)
  for (const name of NAMES) {
    assert.equal(await sandbox.files.readText(`${here}/-again/${name}/${name}`), name)
    await sandbox.files.remove(`${here}/${name}`, { recursive: true })
  }
  assert.deepEqual(
    (await sandbox.files.list(here)).entries.map((one) => one.path),
    ['-again'],
  )
})

verifies('files:names-not-utf8', async ({ box, directory, temporaryDirectory }) => {
  const sandbox = await box()
  const here = await directory()
  const local = await temporaryDirectory()
  const name = 'caf\udce9 \udcff'
  await sandbox.files.write(`${here}/${name}`, 'bytes')
  assert.equal(await sandbox.files.readText(`${here}/${name}`), 'bytes')
  assert.deepEqual(
    (await sandbox.files.list(here)).entries.map((one) => one.path),
    [name],
  )
  const { stdout } = await sandbox.shell(`cat "$(printf 'caf\\351 \\377')"`, { cwd: here })
  assert.equal(stdout, 'bytes')
  await sandbox.files.download(here, join(local, 'out'))
  const names = await readdir(Buffer.from(join(local, 'out')), { encoding: 'buffer' })
  assert.deepEqual(
    names.map((one) => one.toString('latin1')),
    ['café ÿ'],
  )
  await sandbox.files.upload(join(local, 'out'), `${here}/again`)
  assert.deepEqual(
    (await sandbox.files.list(`${here}/again`)).entries.map((one) => one.path),
    [name],
  )
})

verifies('files:download-confined', async ({ box, directory, temporaryDirectory }) => {
  const sandbox = await box()
  const here = await directory()
  const local = await temporaryDirectory()
  await mkdir(join(local, 'outside'))
  await writeFile(join(local, 'outside', 'file'), 'untouched')
  await mkdir(join(local, 'out'))
  // a link that an earlier download or another program may have left in the target
  await symlink(join(local, 'outside'), join(local, 'out', 'escape'))
  await sandbox.run(
    [
      'sh',
      '-c',
      'mkdir -p tree/escape && echo evil >tree/escape/file && echo good >tree/good && ln tree/good tree/hard && mkfifo tree/pipe; ln -s "$1" tree/absolute; ln -s ../../outside tree/relative',
      'sh',
      join(local, 'outside'),
    ],
    { cwd: here },
  )
  await sandbox.files
    .download(`${here}/tree`, join(local, 'out'))
    .catch((error: { code?: string }) => assert.equal(error.code, 'unsafe-archive'))
  assert.equal(await readFile(join(local, 'outside', 'file'), 'utf8'), 'untouched')
  assert.deepEqual(await readdir(join(local, 'outside')), ['file'])
  for (const name of await readdir(join(local, 'out'))) {
    const entry = await lstat(join(local, 'out', name))
    assert.ok(entry.isFile() || entry.isDirectory() || entry.isSymbolicLink(), `${name} is a device or pipe`)
  }
})

verifies('files:upload-confined', async ({ box, directory, temporaryDirectory }) => {
  const sandbox = await box()
  const here = await directory()
  const local = await temporaryDirectory()
  await sandbox.shell('mkdir -p outside target && echo untouched >outside/file && ln -s ../outside target/escape', {
    cwd: here,
  })
  await mkdir(join(local, 'in', 'escape'), { recursive: true })
  await writeFile(join(local, 'in', 'escape', 'file'), 'evil')
  await sandbox.files
    .upload(join(local, 'in'), `${here}/target`)
    .catch((error: { code?: string }) =>
      assert.ok(['unsafe-archive', 'not-a-directory', 'file-exists'].includes(error.code ?? ''), `got ${error.code}`),
    )
  assert.equal(await sandbox.files.readText(`${here}/outside/file`), 'untouched\n')
  assert.equal((await sandbox.files.list(`${here}/outside`)).total, 1)
})
