import { expect, test } from 'vitest'
import type { SandboxSpec } from '../../spec/index.ts'
import type { Connection } from './connection.ts'
import { limitsInForce, limitsOf } from './limits.ts'

const MIB = 1024 * 1024
const FULL = {
  NCPU: 4,
  MemTotal: 8192 * MIB,
  MemoryLimit: true,
  SwapLimit: true,
  CpuCfsQuota: true,
  PidsLimit: true,
  SecurityOptions: [],
}

function limits(spec: SandboxSpec, info: Partial<typeof FULL> = {}): ReturnType<typeof limitsOf> {
  return limitsOf(spec, { kind: 'docker', info: { ...FULL, ...info } } as unknown as Connection, 'box')
}

test('the daemon has room beside what the user asked for, and none of it is swap', () => {
  const given = limits({ cpuLimit: 0.5, memoryLimitMiB: 100, pidsLimit: 10 })
  expect(given).toEqual({ PidsLimit: 15, Memory: 164 * MIB, MemorySwap: 164 * MIB, NanoCpus: 5e8 })
  expect(limitsInForce(given)).toEqual({ cpuLimit: 0.5, memoryLimitMiB: 100, pidsLimit: 10 })
})

test('nothing asked: only processes are bounded', () => {
  expect(limits({})).toEqual({ PidsLimit: 4101 })
  expect(limitsInForce({ Memory: 0, NanoCpus: 0, PidsLimit: null })).toEqual({})
  expect(limitsInForce({ CpuQuota: 50_000, CpuPeriod: 100_000 })).toEqual({ cpuLimit: 0.5 })
})

test.each([
  [{ cpu: 5 }, {}, 'cpu'],
  [{ cpuLimit: 5 }, {}, 'cpuLimit'],
  [{ memoryMiB: 9000 }, {}, 'memoryMiB'],
  [{ memoryLimitMiB: 9000 }, {}, 'memoryLimitMiB'],
  [{ cpuLimit: 1 }, { CpuCfsQuota: false }, 'cpuLimit'],
  [{ memoryLimitMiB: 10 }, { MemoryLimit: false }, 'memoryLimitMiB'],
  [{ pidsLimit: 10 }, { PidsLimit: false }, 'pidsLimit'],
] as const)('%j on an engine with %j is refused', (spec, info, field) => {
  expect(() => limits(spec, info)).toThrow(expect.objectContaining({ code: 'unsupported', field }))
})

test.each(['cpu', 'cpuLimit', 'memoryMiB', 'memoryLimitMiB', 'pidsLimit'] as const)('%s must be above 0', (field) => {
  for (const value of [0, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
    expect(() => limits({ [field]: value })).toThrow(expect.objectContaining({ code: 'invalid-argument', field }))
  }
})
