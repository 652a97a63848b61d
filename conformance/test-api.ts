/** What the suite needs of a test runner. vitest's functions fit; `node:test` can be wrapped. */
export interface TestApi {
  describe(name: string, body: () => void): void
  test(name: string, options: { readonly timeout: number }, body: () => Promise<void>): void
  /** A test that must fail: a known failure. */
  fails(name: string, options: { readonly timeout: number }, body: () => Promise<void>): void
  skip(name: string): void
  afterAll(body: () => Promise<void>, timeoutMs: number): void
}
