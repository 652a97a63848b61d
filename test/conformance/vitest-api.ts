import { afterAll, describe, test } from 'vitest'
import type { TestApi } from '../../conformance/index.ts'

/** vitest's functions, for the suite. */
export const vitestApi: TestApi = {
  describe: (name, body) => void describe(name, body),
  test: (name, options, body) => void test(name, options, body),
  fails: (name, options, body) => void test.fails(name, options, body),
  skip: (name) => void test.skip(name, () => undefined),
  afterAll: (body, timeoutMs) => void afterAll(body, timeoutMs),
}
