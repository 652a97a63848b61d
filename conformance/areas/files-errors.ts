import assert from 'node:assert/strict'
import { failsWith } from '../expectations.ts'
import { verifies } from '../verifies.ts'

verifies('files:missing', async ({ box, directory, temporaryDirectory }) => {
  const { files } = await box()
  const path = `${await directory()}/no such file`
  const local = await temporaryDirectory()
  const calls = [
    files.read(path),
    files.readText(path),
    files.readStream(path).then((stream) => stream.getReader().read()),
    files.list(path),
    files.stat(path),
    files.remove(path),
    files.remove(path, { recursive: true }),
    files.download(path, `${local}/x`),
    files.archive(path),
  ]
  const failures = await Promise.all(calls.map((call) => failsWith(call, 'file-not-found')))
  for (const failure of failures) assert.match(failure.message, /no such file/)
  assert.equal(await files.exists(path), false)
})

verifies('files:permission', async ({ open, temporaryDirectory }) => {
  const sandbox = await open({ user: '12345:12345' })
  const { files } = sandbox
  const local = await temporaryDirectory()
  assert.equal(
    (await sandbox.run(['sh', '-c', 'mkdir shut && echo x >shut/f && echo y >own && chmod 0 own shut'])).exitCode,
    0,
  )
  const calls = [
    files.read('own'),
    files.list('shut'),
    files.stat('shut/f'),
    files.read('shut/f'),
    files.write('shut/g', 'x'),
    files.download('own', `${local}/own`),
  ]
  await Promise.all(calls.map((call) => failsWith(call, 'permission-denied')))
  await failsWith(files.exists('shut/f'), 'permission-denied')
  await sandbox.run(['chmod', '700', 'shut'])
})

verifies('files:wrong-kind', async ({ box, directory }) => {
  const { files } = await box()
  const here = await directory()
  await files.write(`${here}/file`, 'x')
  await failsWith(files.read(here), 'is-a-directory')
  await failsWith(files.write(here, 'x'), 'is-a-directory')
  await failsWith(files.list(`${here}/file`), 'not-a-directory')
  await failsWith(files.stat(`${here}/file/below`), 'not-a-directory', 'file-not-found')
  await failsWith(files.write(`${here}/file/below`, 'x'), 'not-a-directory', 'file-exists')
})

verifies('files:local-missing', async ({ box, directory, temporaryDirectory }) => {
  const { files } = await box()
  const here = await directory()
  const failure = await failsWith(
    files.upload(`${await temporaryDirectory()}/no such tree`, `${here}/made`),
    'file-not-found',
  )
  assert.match(failure.message, /no such tree/)
  assert.equal(await files.exists(`${here}/made`), false)
})
