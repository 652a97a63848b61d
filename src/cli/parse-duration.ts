import { ValueFault } from './value-fault.ts'

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }
const WHOLE = /^(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+$/
const PART = /(\d+(?:\.\d+)?)(ms|s|m|h|d)/g

/** `30s`, `5m`, `1h30m`, `500ms`, `2d` → milliseconds. A number without a unit is refused: it would be guessed wrong. */
export function parseDuration(text: string): number {
  const trimmed = text.trim()
  if (/^\d+(\.\d+)?$/.test(trimmed)) {
    throw new ValueFault(`${JSON.stringify(text)} has no unit (ms, s, m, h, d)`, `${trimmed}s`)
  }
  if (!WHOLE.test(trimmed)) throw new ValueFault(`${JSON.stringify(text)} is not a duration`, '30s, 5m or 1h30m')
  let totalMs = 0
  for (const [, amount, unit] of trimmed.matchAll(PART)) totalMs += Number(amount) * (UNIT_MS[unit ?? ''] ?? 0)
  const rounded = Math.round(totalMs)
  if (rounded <= 0) throw new ValueFault(`${JSON.stringify(text)} must be longer than nothing`, '30s, 5m or 1h30m')
  if (!Number.isSafeInteger(rounded)) throw new ValueFault(`${JSON.stringify(text)} is too long`, '30s, 5m or 1h30m')
  return rounded
}

/** Milliseconds for people, two units at most: `4m 10s`, `2d 3h`, `350ms`. */
export function formatDuration(durationMs: number): string {
  if (durationMs < 1000) return `${Math.max(0, Math.round(durationMs))}ms`
  let seconds = Math.floor(durationMs / 1000)
  const parts: string[] = []
  for (const [unit, size] of [
    ['d', 86_400],
    ['h', 3600],
    ['m', 60],
    ['s', 1],
  ] as const) {
    const count = Math.floor(seconds / size)
    seconds -= count * size
    if (count > 0) parts.push(`${count}${unit}`)
    else if (parts.length > 0) break
    if (parts.length === 2) break
  }
  return parts.join(' ')
}
