import assert from 'node:assert/strict'
import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { failsWith } from '../expectations.ts'
import { verifies } from '../verifies.ts'

verifies('fields:image', async ({ open, target }) => {
  const box = await open()
  assert.equal((await box.info()).image, target.spec?.image ?? 'python:3.12-slim')
  assert.match(
    (await box.run(['cat', '/etc/os-release'])).stdout + (await box.shell('busybox 2>&1 | head -1')).stdout,
    /Debian|BusyBox/,
  )
})

verifies('fields:image-missing', async ({ target, options }) => {
  const before = await count(target.api.list({ on: target.on }))
  const failure = await failsWith(target.api.open(options({ image: 'anyplace-no-such-image:none' })), 'image-not-found')
  assert.match(failure.message, /anyplace-no-such-image/)
  for (const image of ['-rm', 'UPPER CASE', 'a b', '../x', '']) {
    await failsWith(target.api.open(options({ image })), 'invalid-argument', 'image-not-found')
  }
  assert.equal(await count(target.api.list({ on: target.on })), before)
})

async function count(items: AsyncIterable<unknown>): Promise<number> {
  let number = 0
  for await (const _ of items) number += 1
  return number
}

verifies('fields:mounts', async ({ open, temporaryDirectory }) => {
  const [read, write] = [await temporaryDirectory(), await temporaryDirectory()]
  await writeFile(join(read, 'file'), 'from the machine')
  const box = await open({
    mounts: [
      { source: read, target: '/mnt/read here' },
      { source: write, target: '/mnt/write', writable: true },
    ],
  })
  assert.equal((await box.run(['cat', '/mnt/read here/file'])).stdout, 'from the machine')
  assert.equal(await box.files.readText('/mnt/read here/file'), 'from the machine')
  assert.notEqual((await box.shell('echo x > "/mnt/read here/new"')).exitCode, 0)
  await failsWith(box.files.write('/mnt/read here/new', 'x'), 'permission-denied')
  await failsWith(
    stat(join(read, 'new')).catch((error: unknown) => Promise.reject(wrap(error))),
    'file-not-found',
  )
  assert.equal((await box.shell('echo out > /mnt/write/new')).exitCode, 0)
  assert.equal(await readFile(join(write, 'new'), 'utf8'), 'out\n')
  assert.equal((await stat(join(write, 'new'))).uid, process.getuid?.(), 'the file belongs to somebody else')
  await box.close()
  assert.equal(
    await readFile(join(read, 'file'), 'utf8'),
    'from the machine',
    'closing touched the machine’s directory',
  )
})

function wrap(error: unknown): Error {
  return Object.assign(new Error(String(error)), {
    [Symbol.for('anyplace.error')]: true,
    code: (error as { code: string }).code === 'ENOENT' ? 'file-not-found' : 'internal',
  })
}

verifies('fields:mount-source-missing', async ({ options, target, temporaryDirectory }) => {
  const source = join(await temporaryDirectory(), 'not there')
  const failure = await failsWith(
    target.api.open(options({ mounts: [{ source, target: '/mnt/data' }] })),
    'invalid-argument',
    'file-not-found',
    'not-found',
  )
  assert.ok(failure.message.includes('not there'))
  await assert.rejects(stat(source), 'the missing directory was made')
})

verifies('fields:workspace', async ({ open, powers, temporaryDirectory }) => {
  const local = await temporaryDirectory()
  await writeFile(join(local, 'input'), 'data')
  const box = await open({ workspace: local })
  assert.equal(box.workdir, powers.has('privateFiles') ? '/workspace' : local)
  assert.equal((await box.run(['cat', 'input'])).stdout, 'data')
  assert.equal((await box.shell('echo result > output')).exitCode, 0)
  assert.equal(await readFile(join(local, 'output'), 'utf8'), 'result\n')
  assert.equal((await stat(join(local, 'output'))).uid, process.getuid?.())
  await box.files.write('made', 'x')
  assert.equal((await stat(join(local, 'made'))).uid, process.getuid?.())
  assert.equal((await box.shell('cd && echo x > .probe')).exitCode, 0, 'HOME is not writable')
})

verifies('fields:workdir', async ({ open }) => {
  const box = await open({ workdir: '/tmp/made for/this test' })
  assert.equal(box.workdir, '/tmp/made for/this test')
  assert.equal((await box.run(['pwd'])).stdout, '/tmp/made for/this test\n')
  assert.equal((await box.shell('echo x > own')).exitCode, 0)
  assert.equal(await box.files.readText('own'), 'x\n')
})

verifies('fields:user', async ({ open, powers }) => {
  const user = powers.has('idRange') ? '12345:23456' : '65534:65534'
  const box = await open({ user })
  assert.equal((await box.shell('echo $(id -u):$(id -g)')).stdout.trim(), user)
  await box.files.write('own', 'x')
  const { uid, gid } = await box.files.stat('own')
  assert.equal(`${uid}:${gid}`, user)
  assert.equal(
    (await box.shell('echo y > by-command && cd && echo z > .probe')).exitCode,
    0,
    'workdir or HOME is not writable',
  )
})

verifies('fields:network-off', async ({ open }) => {
  const box = await open({ network: false })
  assert.equal((await box.info()).network, 'none')
  const { stdout } = await box.run(['cat', '/proc/net/dev'])
  const interfaces = stdout
    .split('\n')
    .slice(2)
    .map((line) => line.split(':')[0]?.trim())
    .filter((name) => name)
  assert.deepEqual(interfaces, ['lo'])
  assert.equal((await box.run(['cat', '/proc/net/route'])).stdout.trim().split('\n').length, 1, 'there is a route')
})

verifies('fields:labels', async ({ open, target, marker }) => {
  const word = marker()
  const box = await open({ labels: { purpose: word, 'with.dots/and-more': 'a b=c' } })
  assert.equal((await box.info()).labels['purpose'], word)
  let found = false
  for await (const info of target.api.list({ on: target.on })) {
    if (info.id !== box.id) continue
    found = true
    assert.deepEqual([info.labels['purpose'], info.labels['with.dots/and-more']], [word, 'a b=c'])
  }
  assert.ok(found, 'the sandbox is not listed')
})
