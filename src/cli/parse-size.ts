import { ValueFault } from './value-fault.ts'

const EXAMPLE = '512MiB or 2GiB'
const MIB: Readonly<Record<string, number>> = { m: 1, mib: 1, g: 1024, gib: 1024, t: 1024 * 1024, tib: 1024 * 1024 }

/** `512MiB`, `1.5GiB`, `2G` → MiB. Powers of 1024 only: `2GB` is refused, since it could mean either. */
export function parseSizeMiB(text: string): number {
  const quoted = JSON.stringify(text)
  const match = /^(\d+(?:\.\d+)?)\s*([A-Za-z]*)$/.exec(text.trim())
  if (match === null) throw new ValueFault(`${quoted} is not a size`, EXAMPLE)
  const [, amount = '', unit = ''] = match
  if (unit === '') throw new ValueFault(`${quoted} has no unit`, `${amount}MiB`)
  const decimal = /^([mgt])b$/i.exec(unit)
  if (decimal?.[1]) {
    throw new ValueFault(`${quoted}: sizes are powers of 1024`, `${amount}${decimal[1].toUpperCase()}iB`)
  }
  const factor = MIB[unit.toLowerCase()]
  if (factor === undefined) throw new ValueFault(`${quoted} has an unknown unit ${JSON.stringify(unit)}`, EXAMPLE)
  const sizeMiB = Number(amount) * factor
  if (sizeMiB <= 0) throw new ValueFault(`${quoted} must be more than nothing`, EXAMPLE)
  if (!Number.isSafeInteger(sizeMiB)) throw new ValueFault(`${quoted} is not a whole number of MiB`, EXAMPLE)
  return sizeMiB
}

/** Bytes for people: `812 B`, `1.4 MiB`, `3.0 GiB`. */
export function formatBytes(bytes: number): string {
  let amount = bytes
  let unit = 'B'
  for (const next of ['KiB', 'MiB', 'GiB', 'TiB']) {
    if (amount < 1024) break
    amount /= 1024
    unit = next
  }
  return unit === 'B' ? `${amount} B` : `${amount.toFixed(1)} ${unit}`
}
