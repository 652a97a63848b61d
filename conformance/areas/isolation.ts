import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { survivors, untilRunning } from '../survivors.ts'
import { verifies } from '../verifies.ts'

verifies('isolation:told', async ({ open, powers }) => {
  const info = await (await open()).info()
  assert.ok(['none', 'namespace', 'container', 'vm'].includes(info.isolation))
  assert.equal(info.isolation === 'none', !powers.has('privateFiles') && !powers.has('privateProcesses'))
  assert.ok(['own', 'host'].includes(info.network))
})

verifies('isolation:files', async ({ open, temporaryDirectory }) => {
  const local = await temporaryDirectory()
  await writeFile(join(local, 'secret'), 'of the machine')
  const box = await open()
  for (const path of [join(local, 'secret'), process.cwd(), `${process.env['HOME'] ?? '/root'}/.ssh`, '/root/.npmrc']) {
    assert.equal((await box.run(['ls', path])).exitCode === 0, false, `${path} can be seen`)
  }
  // no way around through another process's view
  assert.equal((await box.run(['cat', `/proc/1/root${local}/secret`])).exitCode === 0, false)
})

verifies('isolation:processes', async ({ open, box, marker }) => {
  const [outside, beside] = [marker(), marker()]
  const child = spawn('sh', ['-c', `sleep 60; : ${outside}`], { stdio: 'ignore' })
  try {
    const neighbour = await box()
    const process = await neighbour.spawn(['sh', '-c', `sleep 60; : ${beside}`])
    await untilRunning(neighbour, beside, 1)
    const sandbox = await open()
    assert.equal(await survivors(sandbox, outside), 0)
    assert.equal(await survivors(sandbox, beside), 0)
    await process.kill()
  } finally {
    child.kill('SIGKILL')
  }
})

/** Bits of CHOWN, DAC_OVERRIDE, FOWNER, KILL, SETGID, SETUID. */
const ALLOWED = (1n << 0n) | (1n << 1n) | (1n << 3n) | (1n << 5n) | (1n << 6n) | (1n << 7n)

verifies('isolation:capabilities', async ({ open }) => {
  const { stdout } = await (await open()).run(['cat', '/proc/self/status'])
  for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb']) {
    const value = BigInt(`0x${new RegExp(`^${set}:\\t([0-9a-f]+)$`, 'm').exec(stdout)?.[1] ?? 'f'.repeat(16)}`)
    assert.equal(value & ~ALLOWED, 0n, `${set} is ${value.toString(16)}`)
  }
  assert.match(stdout, /^NoNewPrivs:\t1$/m)
})

verifies('isolation:no-engine-socket', async ({ open }) => {
  const { stdout } = await (
    await open()
  ).shell(
    'ls -d /var/run/docker.sock /run/docker.sock /run/podman/podman.sock /run/containerd 2>/dev/null; grep -E "docker.sock|podman.sock" /proc/mounts; true',
  )
  assert.equal(stdout, '')
})

verifies('isolation:no-published-ports', async ({ open, box }) => {
  const sandbox = await open()
  const ports = async (): Promise<readonly string[]> => {
    const { readFile } = await import('node:fs/promises')
    const lines = (await readFile('/proc/net/tcp', 'utf8')).split('\n').slice(1)
    return lines
      .map((line) => line.trim().split(/\s+/))
      .filter((fields) => fields[3] === '0A')
      .map((fields) => fields[1] ?? '')
  }
  await box()
  const before = await ports()
  const other = await sandbox.spawn(['sleep', '20'])
  const more = await open()
  await more.run(['true'])
  const open127 = (await ports()).filter((port) => !before.includes(port) && !port.startsWith('0100007F'))
  assert.deepEqual(open127, [])
  await other.kill()
})
