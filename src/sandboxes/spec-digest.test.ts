import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { SandboxSpec } from '../spec/index.ts'
import { canonicalJson, changedFields, specDigest } from './spec-digest.ts'

test('the same spec in another order is the same', () => {
  const digest = specDigest({ image: 'a', env: { A: '1', B: '2' }, cpu: undefined })
  expect(changedFields({ env: { B: '2', A: '1' }, image: 'a' }, digest)).toEqual([])
})

test('names every field that differs, is new or is gone', () => {
  const digest = specDigest({ image: 'a', cpu: 1, env: { A: '1' } })
  expect(changedFields({ image: 'b', env: { A: '2' }, network: false }, digest)).toEqual([
    'cpu',
    'env',
    'image',
    'network',
  ])
})

test('the order of mounts counts, and of nothing else', () => {
  const mounts = [
    { source: '/a', target: '/x' },
    { source: '/b', target: '/y' },
  ]
  expect(changedFields({ mounts: mounts.toReversed() }, specDigest({ mounts }))).toEqual(['mounts'])
})

test('tells nothing of values: two digests of one spec differ, and none holds a value', () => {
  const spec = { env: { PASSWORD: 'hunter2' } }
  expect(specDigest(spec)).not.toBe(specDigest(spec))
  expect(specDigest(spec)).not.toContain('hunter2')
})

test('a digest of another version is undefined, not equal', () => {
  for (const digest of ['', 'v2:a:b', 'v1', 'v1::', 'v1:a:b:c']) expect(changedFields({}, digest)).toBeUndefined()
})

test('property: equal exactly when the given fields are equal', () => {
  const spec = fc.record(
    {
      image: fc.constantFrom('a', 'b'),
      cpu: fc.constantFrom(1, 2),
      env: fc.dictionary(fc.string(), fc.string(), { maxKeys: 3, noNullPrototype: true }),
      network: fc.boolean(),
    },
    { requiredKeys: [] },
  ) as fc.Arbitrary<SandboxSpec>
  fc.assert(
    fc.property(spec, spec, (a, b) => {
      const same = canonicalJson(a) === canonicalJson(b)
      expect(changedFields(b, specDigest(a))?.length === 0).toBe(same)
      expect(changedFields(a, specDigest(a))).toEqual([])
    }),
  )
})
