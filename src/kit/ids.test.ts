import { expect, test } from 'vitest'
import { newId, newName } from './ids.ts'

test('ids are 20 safe characters and differ', () => {
  const ids = Array.from({ length: 2000 }, newId)
  for (const id of ids) expect(id).toMatch(/^[a-z0-9]{20}$/)
  expect(new Set(ids).size).toBe(2000)
  expect(new Set(ids.join('')).size).toBe(36)
})

test('names read well and fit a host name', () => {
  for (let index = 0; index < 200; index++) {
    const name = newName()
    expect(name).toMatch(/^[a-z]+-[a-z]+-[0-9a-f]{4}$/)
    expect(name.length).toBeLessThan(40)
  }
})
