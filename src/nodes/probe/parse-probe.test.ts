import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { formatProbe } from './format-probe.ts'
import { parseProbe } from './parse-probe.ts'
import type { ProbeReport } from './probe-report.ts'

const GIB = 2 ** 30
const MIB = 2 ** 20
const TIMES = { roundTripMs: 12.5, durationMs: 90 }

/** What a machine of that kind printed. */
function recorded(name: string): ProbeReport {
  const text = readFileSync(new URL(`../../../test/fixtures/probe/${name}.txt`, import.meta.url), 'utf8')
  return parseProbe('box', text, 'MARK', TIMES)
}

test('two A100 under several CUDA versions, as people read it', () => {
  const report = recorded('a100-several-cuda')
  expect(formatProbe(report).split('\n')).toEqual([
    'OS: Linux x86_64 (Ubuntu 22.04)',
    'GPUs:',
    '- NVIDIA A100-SXM4-80GB (80GB)',
    '  79GB free, 0% busy',
    '- NVIDIA A100-SXM4-80GB (80GB)',
    '  39GB free, 97% busy',
    'CUDA: 12.3, Driver: 545.23.08',
    'CUDA toolkits: 12.4, 12.3, 12, 11.8',
    'Python: 3.12, 3.11, 3.10',
    'Disk: 850GB free',
    'Disk size: 1760GB, of /srv/work',
    'CPU: AMD EPYC 7763 64-Core Processor, 128 cores',
    'Memory: 1008GB, 882GB available',
    'Containers: docker 24.0.7, nvidia-ctk 1.14.6',
    'Node: 20.11.1, 18.19.0',
    'OpenSSH: 8.9p1',
    'rsync: 3.2.7',
    'Kernel: 5.15.0-97-generic',
    'Round trip: 12.5 ms',
  ])
  expect(report).toMatchObject({
    ...TIMES,
    node: 'box',
    gpus: [{ vendor: 'nvidia', migEnabled: false, utilizationPercent: 0 }, { memoryFreeBytes: 40091 * MIB }],
    pythons: [
      { version: '3.12.2', path: '/opt/conda/bin/python3' },
      { version: '3.11.9' },
      { version: '3.10.12', path: '/usr/bin/python3' },
      { version: '3.10.12', path: '/opt/conda/envs/old/bin/python3' },
    ],
    runtimes: [{ name: 'docker', version: '24.0.7', isUsable: true }, { name: 'nvidia-ctk' }],
    problems: [],
  })
})

test('an H100 in a container: the caps of the container, a disk whose name has a space, a newer spelling of the driver', () => {
  expect(recorded('h100')).toMatchObject({
    os: { distribution: 'Rocky', version: '9.4' },
    cpu: { cores: 26, limit: 16 },
    memory: { totalBytes: 237559908 * 1024, limitBytes: 128 * GIB },
    disk: { path: '/workspace', totalBytes: 100 * GIB, freeBytes: 100562633 * 1024 },
    gpus: [
      {
        model: 'NVIDIA H100 80GB HBM3',
        memoryTotalBytes: 81559 * MIB,
        memoryFreeBytes: 80956 * MIB,
        utilizationPercent: 12,
        driverVersion: '550.90.07',
        cudaVersion: '12.4',
      },
    ],
    cudaToolkits: ['12.4'],
    runtimes: [{ name: 'podman', version: '4.9.4-rhel', isUsable: true }],
    rsyncVersion: undefined,
  })
})

test('a card cut into slices: each with its name, and its memory is not taken for the card’s', () => {
  const report = recorded('a100-mig')
  expect(report.gpus).toMatchObject([
    {
      memoryTotalBytes: 81920 * MIB,
      memoryFreeBytes: 81001 * MIB,
      utilizationPercent: undefined,
      migEnabled: true,
      migDevices: [
        { profile: '3g.40gb', memoryTotalBytes: 40192 * MIB, memoryFreeBytes: 40167 * MIB },
        { profile: '2g.20gb', uuid: 'MIG-cba663e8-9bed-5b25-b243-5985ef7c9beb' },
        { profile: '1g.10gb', memoryTotalBytes: 9856 * MIB },
      ],
    },
  ])
  expect(report.cpu.limit).toBeUndefined()
  expect(report.memory.limitBytes).toBeUndefined()
  expect(formatProbe(report)).toContain('  79GB free, MIG: 3g.40gb, 2g.20gb, 1g.10gb\n')
})

test('mixed cards of two makers; one that only shows a picture is none', () => {
  const report = recorded('two-mixed-gpus')
  expect(report.gpus.map(({ model, vendor, memoryFreeBytes }) => [model, vendor, memoryFreeBytes])).toEqual([
    ['NVIDIA GeForce RTX 4090', 'nvidia', 23000 * MIB],
    ['Tesla T4', 'nvidia', 15097 * MIB],
    ['AMD Radeon RX 7900 XTX', 'amd', 25753026560 - 1073741824],
  ])
  expect(report.gpus[0]?.migEnabled).toBeUndefined()
  expect(report.os).toMatchObject({ distribution: 'Arch', version: undefined })
  expect(report.pythons.map(({ version }) => version)).toEqual(['3.13.0rc2', '3.12.3'])
  expect(report.runtimes).toEqual([
    { name: 'docker', version: '26.1.3', isUsable: false, problem: expect.stringContaining('permission denied') },
  ])
})

test('no card: an old kernel, a processor without a name, a Python that does not start', () => {
  expect(recorded('no-gpu')).toMatchObject({
    os: { distribution: 'Debian', version: '12', architecture: 'aarch64' },
    cpu: { model: 'Neoverse-N1', cores: 4 },
    memory: { availableBytes: (512000 + 100000 + 2000000) * 1024 },
    gpus: [],
    runtimes: [],
    pythons: [{ version: '3.11.2' }],
    nodes: [],
    problems: [],
  })
  expect(formatProbe(recorded('no-gpu'))).toContain('GPUs: none\nPython: 3.11\nDisk: 16GB free\n')
})

test('macOS', () => {
  expect(recorded('macos')).toMatchObject({
    os: { kernel: 'Darwin', distribution: 'macOS', version: '14.4.1', architecture: 'arm64' },
    cpu: { model: 'Apple M2 Pro', cores: 12 },
    memory: { totalBytes: 32 * GIB, availableBytes: (81234 + 680123 + 30123 + 10321) * 16384 },
    disk: { path: '/Users/ada', freeBytes: 543210987 * 1024 },
    gpus: [{ model: 'Apple M2 Pro', vendor: 'apple' }],
    sshVersion: '9.6p1',
    rsyncVersion: undefined, // openrsync is another program
    problems: [],
  })
})

test('Alpine: nothing installed, and that is no failure', () => {
  const report = recorded('alpine')
  expect(report).toMatchObject({
    os: { distribution: 'Alpine', version: '3.19.1' },
    cpu: { limit: 1.5 },
    memory: { limitBytes: 512 * MIB },
    disk: { freeBytes: 45714964 * 1024 },
    pythons: [],
    problems: [],
  })
  expect(formatProbe(report)).toContain('Python: none\n')
})

test('a driver that fails, and one that hangs, are said', () => {
  expect(recorded('driver-fails')).toMatchObject({
    gpus: [],
    cudaToolkits: ['11.8'],
    problems: [expect.stringMatching(/^nvidia-smi failed \(the machine has 2 NVIDIA devices\): NVIDIA-SMI has failed/)],
  })
  expect(recorded('driver-hangs')).toMatchObject({
    gpus: [],
    disk: { freeBytes: 891289600 * 1024 },
    runtimes: [{ name: 'docker', isUsable: false, problem: 'it did not answer in time' }],
    problems: [
      'nvidia-smi did not answer in time (the machine has 1 NVIDIA device)',
      'asking for the disk of the workspace took too long',
      'asking for the Python interpreters took too long',
    ],
  })
})

test('control characters of a machine do not reach a terminal', () => {
  const output = '\n@MARK hello\n1\n\n@MARK cpu\n\u001b[2J\u0007evil\u202e cpu\n\n@MARK end\n1\n'
  expect(parseProbe('box', output, 'MARK', TIMES).cpu.model).toBe('[2J evil cpu')
})

const NAMES = ['system', 'release', 'macos', 'cpu', 'model', 'cores', 'limits', 'memory', 'disk', 'docker', 'podman']
const MORE = ['pythons', 'versions', 'nvidia', 'nvidia-list', 'toolkits', 'pci', 'displays', 'code', 'end', '__proto__']

test('whatever a machine sends, there is a report', () => {
  const piece = fc.oneof(
    fc
      .tuple(fc.constantFrom(...NAMES, ...MORE), fc.string({ unit: 'binary' }))
      .map(([name, text]) => `\n@MARK ${name}\n${text}`),
    fc.constantFrom(
      '\nGPU 0:0\n',
      '    FB Memory Usage\n',
      '        Total : 99999999999999999999999 MiB\n',
      '|||||',
      '\0',
    ),
    fc.string({ unit: 'binary' }),
  )
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
      const report = parseProbe('box', pieces.join(''), 'MARK', TIMES)
      expect(typeof formatProbe(report)).toBe('string')
      for (const number of [report.disk.freeBytes, report.memory.totalBytes, report.cpu.cores]) {
        if (number !== undefined) expect(number).toBeGreaterThanOrEqual(0)
      }
    }),
  )
})

test('megabytes of anything are read in a bounded time', () => {
  for (const line of [
    'GPU 0:0\n',
    '@MARK pci\n0x1002|a|1|1|1|x\n',
    ' '.repeat(9) + 'x : y\n',
    'Chipset Model: x\n',
    '\u0000\ufffd',
  ]) {
    const text = `\n@MARK nvidia\n${line.repeat(300_000)}\n@MARK displays\n${line.repeat(100_000)}`
    const report = parseProbe('box', text, 'MARK', TIMES)
    expect(report.gpus.length).toBeLessThan(30_000)
    expect(report.problems.at(-1)).toMatch(/end never came/)
  }
})
