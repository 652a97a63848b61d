import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, test } from 'vitest'
import { AnyplaceError } from '../spec/index.ts'
import { abortError, deadlineSignal, throwIfAborted, untilAborted } from './deadline.ts'

const forever = new Promise<never>(() => {})

describe('abortError', () => {
  test('a TimeoutError is timeout, anything else is cancelled', () => {
    expect(abortError(AbortSignal.abort(new DOMException('late', 'TimeoutError'))).code).toBe('timeout')
    expect(abortError(AbortSignal.abort()).code).toBe('cancelled')
    expect(abortError(AbortSignal.abort('why')).cause).toBe('why')
  })

  test('a reason of our own stays', () => {
    const reason = new AnyplaceError('connection-lost', 'Gone.')
    expect(abortError(AbortSignal.abort(reason))).toBe(reason)
  })
})

describe('untilAborted', () => {
  test('gives the value or the failure of the promise', async () => {
    const { signal } = new AbortController()
    await expect(untilAborted(Promise.resolve(7), signal)).resolves.toBe(7)
    await expect(untilAborted(Promise.reject(new Error('no')), signal)).rejects.toThrow('no')
    await expect(untilAborted(Promise.resolve(7), undefined)).resolves.toBe(7)
  })

  test('rejects at once when the signal is or gets aborted', async () => {
    await expect(untilAborted(forever, AbortSignal.abort())).rejects.toMatchObject({ code: 'cancelled' })
    const controller = new AbortController()
    const waiting = untilAborted(forever, controller.signal)
    controller.abort()
    await expect(waiting).rejects.toMatchObject({ code: 'cancelled' })
  })

  test('a failure after the abort is not left unhandled', async () => {
    const unhandled: unknown[] = []
    const listen = (reason: unknown): void => void unhandled.push(reason)
    process.on('unhandledRejection', listen)
    let fail: (error: Error) => void = () => {}
    const work = new Promise<never>((_, reject) => (fail = reject))
    await expect(untilAborted(work, AbortSignal.abort())).rejects.toMatchObject({ code: 'cancelled' })
    fail(new Error('late'))
    await new Promise((resolve) => setTimeout(resolve, 10))
    process.off('unhandledRejection', listen)
    expect(unhandled).toEqual([])
  })

  test('leaves no listener behind', async () => {
    const { signal } = new AbortController()
    let listeners = 0
    const add = signal.addEventListener.bind(signal)
    const remove = signal.removeEventListener.bind(signal)
    signal.addEventListener = ((...values: Parameters<typeof add>) => (listeners++, add(...values))) as typeof add
    signal.removeEventListener = ((...values: Parameters<typeof remove>) => (
      listeners--,
      remove(...values)
    )) as typeof remove
    await untilAborted(Promise.resolve(), signal)
    await untilAborted(Promise.reject(new Error('no')), signal).catch(() => {})
    await new Promise((resolve) => setImmediate(resolve))
    expect(listeners).toBe(0)
  })
})

describe('deadlineSignal', () => {
  test('its end is a timeout, and the other signal comes through', async () => {
    const signal = deadlineSignal(1)
    await expect(untilAborted(forever, signal)).rejects.toMatchObject({ code: 'timeout' })
    expect(() => throwIfAborted(signal)).toThrow(expect.objectContaining({ code: 'timeout' }))
    const controller = new AbortController()
    const both = deadlineSignal(60_000, controller.signal)
    throwIfAborted(both)
    controller.abort()
    expect(abortError(both).code).toBe('cancelled')
  })

  test('no number of milliseconds ends early', async () => {
    for (const timeoutMs of [2 ** 31, 1e12, Number.POSITIVE_INFINITY]) {
      const signal = deadlineSignal(timeoutMs)
      await new Promise((resolve) => setTimeout(resolve, 5))
      expect(signal.aborted).toBe(false)
    }
    for (const timeoutMs of [-1, Number.NaN]) {
      expect(() => deadlineSignal(timeoutMs)).toThrow(expect.objectContaining({ field: 'timeoutMs' }))
    }
  })
})

test('a deadline beside a signal passes, however much memory is collected meanwhile', async () => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const user = new AbortController()
  const waiting = untilAborted(forever, deadlineSignal(100, user.signal))
  const timer = setInterval(collect, 10)
  try {
    const late = new Promise((resolve) => setTimeout(resolve, 5000, 'never').unref())
    await expect(Promise.race([waiting, late])).rejects.toMatchObject({ code: 'timeout' })
  } finally {
    clearInterval(timer)
  }
  expect(user.signal.aborted).toBe(false)
})
