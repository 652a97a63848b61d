import { chmodSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable, Writable } from 'node:stream'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { localMachine } from '../../providers/local/local-machine.ts'
import { AnyplaceError } from '../../spec/index.ts'
import type { Channel, Machine } from '../../spec/index.ts'
import { formatProbe } from './format-probe.ts'
import { probe } from './probe.ts'
import { runProbe } from './run-probe.ts'

let programs: string

beforeEach(() => {
  programs = mkdtempSync(join(tmpdir(), 'anyplace-probe-'))
})
afterEach(() => {
  vi.unstubAllEnvs()
  rmSync(programs, { recursive: true })
})

/** A program that the machine finds before its own. */
function program(name: string, text: string): void {
  writeFileSync(join(programs, name), `#!/bin/sh\n${text}\n`)
  chmodSync(join(programs, name), 0o755)
}

/** This machine, with our programs first and another shell if asked. */
function machineWith(shell?: readonly string[]): Machine {
  vi.stubEnv('PATH', `${programs}:/usr/bin:/bin`)
  const machine = localMachine()
  return shell === undefined
    ? machine
    : { ...machine, run: (argv, options) => machine.run([...shell, ...argv.slice(1)], options) }
}

test('this machine, through the library', async () => {
  const report = await probe({ on: 'local', workspace: programs })
  expect(report).toMatchObject({ node: 'local', os: { kernel: process.platform === 'darwin' ? 'Darwin' : 'Linux' } })
  expect(report.cpu.cores).toBeGreaterThan(0)
  expect(report.memory.totalBytes).toBeGreaterThan(report.memory.availableBytes ?? Infinity)
  expect(report.disk.path).toBe(programs)
  expect(report.disk.freeBytes).toBeGreaterThan(0)
  expect(report.nodes.map(({ version }) => version)).toContain(process.versions.node)
  expect(report.roundTripMs).toBeLessThanOrEqual(report.durationMs)
  expect(report.problems).not.toContainEqual(expect.stringMatching(/end never came|took too long/))
  expect(formatProbe(report)).toMatch(/^OS: \S+ \S+ \(.+\)\nGPUs:/)
})

const SHELLS = [['dash'], ['busybox', 'sh'], ['bash', '--posix']]

test.each(SHELLS)('a driver that hangs does not hang the probe (%s)', async (...shell) => {
  program('nvidia-smi', 'trap "" TERM INT HUP; while :; do sleep 1; done')
  program('docker', 'exec sleep 100')
  const report = await runProbe('box', machineWith(shell), { toolSeconds: 1, timeoutMs: 20_000 })
  expect(report.problems).toContainEqual(expect.stringMatching(/^nvidia-smi did not answer in time/))
  expect(report.runtimes).toContainEqual(expect.objectContaining({ name: 'docker', isUsable: false }))
  expect(report.disk.freeBytes).toBeGreaterThan(0)
  expect(report.os.kernel).toBe('Linux')
})

test.each(SHELLS)('a driver with much to say is read whole, junk is no Python (%s)', async (...shell) => {
  program(
    'nvidia-smi',
    `case $1 in -L) printf 'GPU 0: T (UUID: GPU-1)\\n  MIG 1g.5gb     Device  0: (UUID: MIG-1)\\n' ;; *)
printf 'Driver Version                            : 550.1\\nCUDA Version                              : 12.4\\n'
printf 'GPU 00000000:01:00.0\\n    Product Name                          : T\\n    GPU UUID                              : GPU-1\\n'
i=0; while [ $i -lt 3000 ]; do printf '    Clocks Throttle Reason %s                : Not Active\\n' $i; i=$((i+1)); done
printf '    MIG Device\\n        FB Memory Usage\\n            Total                         : 5 MiB\\n    FB Memory Usage\\n        Total                             : 16 MiB\\n' ;; esac`,
  )
  program('python3', 'echo Python 3.8.10')
  program('python3-config', 'echo Python 9.9.9')
  program('python3.77', 'echo "usage: no"; exit 2')
  symlinkSync('python3', join(programs, 'python3.8'))
  const report = await runProbe('box', machineWith(shell), {})
  expect(report.gpus).toMatchObject([
    { model: 'T', memoryTotalBytes: 16 * 2 ** 20, migDevices: [{ profile: '1g.5gb' }] },
  ])
  const ours = report.pythons.filter(({ path }) => path.startsWith(programs))
  expect(ours).toEqual([{ version: '3.8.10', path: join(programs, 'python3') }])
})

test.each(['~', '~/not/there', 'not there', '/', '/no\'such "dir/$(id)'])(
  'the disk of the workspace %j',
  async (workspace) => {
    const { disk } = await runProbe('box', machineWith(), { workspace })
    expect(disk.path).toMatch(/^\//)
    expect(disk.freeBytes).toBeGreaterThan(0)
  },
)

/** A machine whose every process prints this and then ends, or goes on. */
function machineThatPrints(
  output: (mark: string) => AsyncIterable<Uint8Array>,
): Machine & { readonly closed: () => number } {
  let closed = 0
  return {
    ...localMachine(),
    closed: () => closed,
    async run(argv): Promise<Channel> {
      const stdout = Readable.from(output(argv[4] ?? ''))
      const close = async (): Promise<void> => {
        closed++
        stdout.destroy()
      }
      const stdin = new Writable({ write: (_chunk, _encoding, done) => done() })
      const exit = new Promise<never>(() => undefined)
      return { stdin, stdout, stderr: Readable.from([]), exit, close, [Symbol.asyncDispose]: close }
    },
  }
}

test('a machine that never stops talking', async () => {
  const machine = machineThatPrints(async function* (mark) {
    yield Buffer.from(`\n@${mark} hello\n1\n\n@${mark} cores\n8\n\n@${mark} nvidia\n`)
    for (;;) yield Buffer.alloc(65536, 0xff)
  })
  const report = await runProbe('box', machine)
  expect(report.cpu.cores).toBe(8)
  expect(report.problems).toContainEqual(expect.stringMatching(/longer than/))
  expect(machine.closed()).toBe(1)
})

test('a machine that stops in the middle: what came counts', async () => {
  const machine = machineThatPrints(async function* (mark) {
    yield Buffer.from(`\n@${mark} hello\n1\n\n@${mark} cores\n8\n`)
    await new Promise(() => undefined)
  })
  const report = await runProbe('box', machine, { timeoutMs: 100 })
  expect(report.cpu.cores).toBe(8)
  expect(report.problems).toContainEqual(expect.stringMatching(/end never came/))
  expect(machine.closed()).toBe(1)
})

test('no answer, an answer of something else, a cancel', async () => {
  const silent = machineThatPrints(async function* () {
    yield* []
    await new Promise(() => undefined)
  })
  await expect(runProbe('box', silent, { timeoutMs: 50 })).rejects.toMatchObject({ code: 'timeout' })
  const other = machineThatPrints(async function* () {
    yield Buffer.from('This account is not available.\n')
  })
  const refused = runProbe('box', other)
  await expect(refused).rejects.toMatchObject({
    code: 'protocol-error',
    message: expect.stringContaining('not available'),
  })
  const stop = new AbortController()
  const cancelled = runProbe('box', silent, { signal: stop.signal })
  stop.abort()
  await expect(cancelled).rejects.toSatisfy((error) => AnyplaceError.is(error, 'cancelled'))
  expect(silent.closed()).toBe(2)
})
