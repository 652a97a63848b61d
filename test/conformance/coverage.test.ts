import { expect, test } from 'vitest'
import '../../conformance/areas/all.ts'
import { POWERS, requirements } from '../../conformance/index.ts'
import { allVerifications } from '../../conformance/verifies.ts'

const ids = Object.keys(requirements)
const verified = [...allVerifications().keys()]

test('every requirement has a test', () => {
  expect(ids.filter((id) => !verified.includes(id))).toEqual([])
})

test('every test names a requirement', () => {
  expect(verified.filter((id) => !ids.includes(id))).toEqual([])
})

test('the suite has not shrunk', () => {
  expect(ids.length).toBeGreaterThanOrEqual(150)
  expect(new Set(verified).size).toBe(ids.length)
})

test('every restriction names powers that exist', () => {
  for (const [id, { needs = [], lacks }] of Object.entries(requirements)) {
    for (const power of [...needs, ...(lacks === undefined ? [] : [lacks])]) expect(POWERS, id).toHaveProperty(power)
  }
})

test('every power that can be missing is needed by a requirement', () => {
  const needed = new Set(Object.values(requirements).flatMap(({ needs = [], lacks }) => [...needs, lacks]))
  expect(Object.keys(POWERS).filter((power) => !needed.has(power as keyof typeof POWERS))).toEqual([])
})
