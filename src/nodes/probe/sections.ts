/** One answer of the machine, as it came. */
export interface Section {
  readonly text: string
  /** What the tool behind it ended with: its exit code, or `timeout` when it was given up. */
  readonly code?: string | undefined
}

/** Longest text of one section that is looked at; real ones are a few KiB. */
const MAX_SECTION_CHARACTERS = 256 * 1024
const MAX_SECTIONS = 1000

/**
 * What the probe printed, by section; one name may come several times. Everything before the first mark (a greeting of
 * the login shell) and every line that is not ours is left to its section or dropped; nothing here fails.
 */
export function splitSections(output: string, mark: string): ReadonlyMap<string, readonly Section[]> {
  const sections = new Map<string, Section[]>()
  const pieces = `\n${output}`.split(`\n@${mark} `).slice(1, MAX_SECTIONS)
  let last: { name: string; index: number } | undefined
  for (const piece of pieces) {
    const end = piece.indexOf('\n')
    const head = (end < 0 ? piece : piece.slice(0, end)).trim()
    const text = end < 0 ? '' : piece.slice(end + 1, end + 1 + MAX_SECTION_CHARACTERS).replace(/^\n+|\s+$/g, '')
    const code = /^code (\d{1,3}|timeout)$/.exec(head)?.[1]
    if (code !== undefined) {
      const section = last && sections.get(last.name)?.[last.index]
      if (last && section) sections.get(last.name)?.splice(last.index, 1, { ...section, code })
    } else if (/^[a-z][a-z-]{0,30}$/.test(head.split(' ')[0] ?? '')) {
      const name = head.split(' ')[0] ?? ''
      const list = sections.get(name) ?? []
      last = { name, index: list.length }
      list.push({ text })
      sections.set(name, list)
    }
  }
  return sections
}

/** A number of decimal digits; undefined for anything else and for what no number can hold. */
export function wholeOrNothing(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d{1,20}$/.test(text.trim())) return undefined
  const number = Number(text.trim())
  return Number.isSafeInteger(number) ? number : undefined
}

/** One line of a machine's text: without control characters, at most `length` long; undefined when nothing is left. */
export function cleanLine(text: string | undefined, length = 200): string | undefined {
  const line = (text ?? '')
    // oxlint-disable-next-line no-control-regex -- control characters are what has to go
    .replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufffd\ud800-\udfff]+/gu, ' ')
    .replace(/\s+/g, ' ')
    .trim()
    .slice(0, length)
  return line === '' ? undefined : line
}

/** Orders versions such as `3.12.1`, newest first. */
export function newestFirst(first: string, second: string): number {
  const [one, two] = [first, second].map((version) => version.split('.').map((part) => Number.parseInt(part, 10) || 0))
  for (let index = 0; index < 4; index++) {
    const difference = (two?.[index] ?? 0) - (one?.[index] ?? 0)
    if (difference !== 0) return difference
  }
  return first < second ? -1 : first > second ? 1 : 0
}
