import { afterAll, describe, test } from 'vitest'
import type { TestApi } from '../../conformance/index.ts'

/** vitest's functions, for the suite. */
export const vitestApi: TestApi = {
  describe: (name, body) => {
    describe(name, body)
  },
  test: (name, options, body) => {
    test(name, options, body)
  },
  fails: (name, options, body) => {
    test.fails(name, options, body)
  },
  skip: (name) => {
    test.skip(name, () => undefined)
  },
  afterAll: (body, timeoutMs) => {
    afterAll(body, timeoutMs)
  },
}
