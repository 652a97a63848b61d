import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { AnyplaceError } from '../spec/index.ts'
import { loadProfiles, profileNamed } from './load-profiles.ts'
import type { LoadedProfile } from './profile.ts'
import type { ProfileSources } from './load-profiles.ts'

const directory = mkdtempSync(join(tmpdir(), 'anyplace-profiles-'))
let files = 0

function yaml(text: string): string {
  const path = join(directory, `${files++}.yaml`)
  writeFileSync(path, text)
  return path
}

async function load(sources: ProfileSources, name = 'default'): Promise<LoadedProfile> {
  return profileNamed(await loadProfiles({ env: {}, ...sources }), name)
}

async function failure(sources: ProfileSources): Promise<AnyplaceError> {
  const error: unknown = await loadProfiles({ env: {}, ...sources }).catch((reason: unknown) => reason)
  expect(error).toBeInstanceOf(AnyplaceError)
  return error as AnyplaceError
}

test('the defaults are those of the specification', async () => {
  const { profile, origins } = await load({})
  expect(profile).toMatchObject({
    name: 'default',
    image: 'python:3.11',
    gpu: undefined,
    cpu: 1,
    memoryMiB: 2048,
    slotsPerSandbox: 10,
    minSandboxes: 1,
    maxSandboxes: 5,
    idleTimeoutMs: 120_000,
    maxLifetimeMs: 3_600_000,
    acquireTimeoutMs: 60_000,
    executionTimeoutMs: 30_000,
    secrets: [],
    env: {},
    workspaceBase: '/data',
  })
  expect(new Set(Object.values(origins).map(({ kind }) => kind))).toEqual(new Set(['default']))
})

test('every field of the reference from its own variables, per profile before global', async () => {
  const { profile, origins } = await load(
    {
      env: {
        ATROPOS_MODAL_PROFILES: 'default, pytorch-gpu',
        ATROPOS_MODAL_PROFILE_PYTORCH_GPU_IMAGE: 'pytorch',
        ATROPOS_MODAL_IMAGE: 'global',
        ATROPOS_MODAL_GPU: 'T4',
        ATROPOS_MODAL_PROFILE_PYTORCH_GPU_GPU: '',
        ATROPOS_MODAL_CPU: '2.5',
        ATROPOS_MODAL_MEMORY: '16384',
        ATROPOS_MODAL_SLOTS_PER_SANDBOX: '4',
        ATROPOS_MODAL_MIN_SANDBOXES: '0',
        ATROPOS_MODAL_MAX_SANDBOXES: '9',
        ATROPOS_MODAL_IDLE_TIMEOUT: '60',
        ATROPOS_MODAL_MAX_LIFETIME: '7200',
        ATROPOS_MODAL_ACQUIRE_TIMEOUT: '0.5',
        ATROPOS_MODAL_EXECUTION_TIMEOUT: '2m',
        ATROPOS_MODAL_SECRETS: 'a, b,',
        ATROPOS_MODAL_ENV_VARS: 'A=1;B=x=y;C=p\\;q',
        ATROPOS_MODAL_WORKSPACE_BASE: '/work/',
      },
    },
    'pytorch-gpu',
  )
  expect(profile).toMatchObject({
    image: 'pytorch',
    gpu: undefined,
    cpu: 2.5,
    memoryMiB: 16384,
    slotsPerSandbox: 4,
    minSandboxes: 0,
    maxSandboxes: 9,
    idleTimeoutMs: 60_000,
    maxLifetimeMs: 7_200_000,
    acquireTimeoutMs: 500,
    executionTimeoutMs: 120_000,
    secrets: ['a', 'b'],
    env: { A: '1', B: 'x=y', C: 'p;q' },
    workspaceBase: '/work',
  })
  expect(origins.image).toEqual({ kind: 'environment', source: 'ATROPOS_MODAL_PROFILE_PYTORCH_GPU_IMAGE' })
  expect(origins.cpu.source).toBe('ATROPOS_MODAL_CPU')
  expect(origins.appName.kind).toBe('default')
})

test('our variables come before the reference’s, at the same level only', async () => {
  const env = { ANYPLACE_POOL_CPU: '3', ATROPOS_MODAL_CPU: '2' }
  expect((await load({ env })).profile.cpu).toBe(3)
  expect((await load({ env: { ...env, ATROPOS_MODAL_PROFILE_DEFAULT_CPU: '4' } })).profile.cpu).toBe(4)
})

test('a file in both spellings; times of the reference are seconds, ours milliseconds', async () => {
  const path = yaml(`
profiles:
  gpu: { image: pytorch, gpu: "A100:2", idle_timeout: 5, acquire_timeout_s: 0.25, env_vars: { N: 1, ON: true } }
  ours: { memoryMiB: 512, idleTimeoutMs: 5, env: { A: b } }
  empty:
`)
  const gpu = await load({ profilesFile: path }, 'gpu')
  expect(gpu.profile).toMatchObject({
    gpu: { type: 'A100', count: 2 },
    idleTimeoutMs: 5000,
    acquireTimeoutMs: 250,
    env: { N: '1', ON: 'true' },
  })
  expect(gpu.origins.idleTimeoutMs).toEqual({ kind: 'file', source: `${path}: profiles.gpu.idle_timeout` })
  expect((await load({ profilesFile: path }, 'ours')).profile).toMatchObject({ memoryMiB: 512, idleTimeoutMs: 5 })
  expect((await load({ profilesFile: path }, 'empty')).profile.image).toBe('python:3.11')
})

test('precedence: given profiles, given file, named file, variables; default is always there', async () => {
  const [given, named] = [yaml('profiles: {a: {image: given}}'), yaml('profiles: {a: {image: named}}')]
  const env = { ANYPLACE_POOL_PROFILES_FILE: named, ANYPLACE_POOL_PROFILES: 'a', ANYPLACE_POOL_IMAGE: 'variable' }
  expect((await load({ env, profilesFile: given, profiles: { a: { image: 'object' } } }, 'a')).profile.image).toBe(
    'object',
  )
  expect((await load({ env, profilesFile: given }, 'a')).profile.image).toBe('given')
  expect((await load({ env }, 'a')).profile.image).toBe('named')
  expect((await load({ env: { ...env, ANYPLACE_POOL_PROFILES_FILE: undefined } }, 'a')).profile.image).toBe('variable')
  expect((await load({ env, profilesFile: given })).profile.image).toBe('variable')
})

test.each([
  ['ATROPOS_MODAL_CPU', 'two', 'cpu'],
  ['ATROPOS_MODAL_CPU', '', 'cpu'],
  ['ATROPOS_MODAL_PROFILE_DEFAULT_MEMORY', '2GB', 'memoryMiB'],
  ['ANYPLACE_POOL_IDLE_TIMEOUT', '0', 'idleTimeoutMs'],
  ['ANYPLACE_POOL_MIN_SANDBOXES', '7', 'minSandboxes'],
  ['ANYPLACE_POOL_SLOTS_PER_SANDBOX', '1.5', 'slotsPerSandbox'],
  ['ANYPLACE_POOL_ENV_VARS', 'novalue', 'env'],
  ['ANYPLACE_POOL_ISOLATION', 'vm', 'isolation'],
  ['ANYPLACE_POOL_WORKSPACE_BASE', '../x', 'workspaceBase'],
])('%s=%j is an error that names variable and field', async (variable, text, field) => {
  const error = await failure({ env: { [variable]: text } })
  expect(error).toMatchObject({ code: 'invalid-argument', field })
  expect(error.message).toContain(variable)
})

test('a broken file is an error with its place, never a fallback', async () => {
  const broken = yaml('profiles:\n  a: {image: [}\n')
  expect((await failure({ env: { ATROPOS_MODAL_PROFILES_FILE: broken } })).message).toContain(`${broken}:2:`)
  const missing = join(directory, 'none.yaml')
  expect(await failure({ env: { ATROPOS_MODAL_PROFILES_FILE: missing } })).toMatchObject({ code: 'file-not-found' })
  expect((await failure({ profilesFile: yaml('other: 1') })).field).toBe('profiles')
  const twice = await failure({ profilesFile: yaml('profiles: {a: {idle_timeout: 1, idleTimeoutMs: 1}}') })
  expect(twice.message).toContain('idleTimeoutMs and idle_timeout')
  const typo = await failure({ profilesFile: yaml('profiles: {a: {slots_per_sandbx: 1}}') })
  expect(typo).toMatchObject({ field: 'slots_per_sandbx', hint: 'did you mean slots_per_sandbox?' })
  expect(typo.message).toContain('profiles.a.slots_per_sandbx')
  const secret = await failure({ profiles: { a: { env: { TOKEN: 'hunter2\0' } } } })
  expect(secret.message).not.toContain('hunter2')
})

test('any object gives a whole profile or an error that names a field', async () => {
  const keys = fc.constantFrom(
    'image',
    'cpu',
    'memory',
    'gpu',
    'secrets',
    'env',
    'idle_timeout',
    'slotsPerSandbox',
    'reset',
    'x',
  )
  await fc.assert(
    fc.asyncProperty(fc.dictionary(keys, fc.jsonValue()), async (fields) => {
      try {
        const { profile } = await load({ profiles: { p: fields } }, 'p')
        expect(profile.cpu).toBeGreaterThan(0)
        expect(Number.isSafeInteger(profile.slotsPerSandbox)).toBe(true)
      } catch (error) {
        expect(error).toMatchObject({ code: 'invalid-argument', field: expect.any(String) })
      }
    }),
    { numRuns: 300 },
  )
})
