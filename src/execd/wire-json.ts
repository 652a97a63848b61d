import { protocolError } from './frames.ts'

/** Nothing we exchange nests deeper than 5. */
const MAX_DEPTH = 16
/** Objects and lists of one message: a listing has one per entry. */
const MAX_CONTAINERS = 200_000
const MAX_VALUES = 2_000_000
/** Below this a message cannot cost much, whatever is in it. */
const SCAN_ABOVE_BYTES = 4096

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * JSON of a control payload. A message is measured before it is parsed, since a parser turns 8 MiB of brackets into
 * hundreds of MiB.
 *
 * @param scanAboveBytes below this a payload is parsed as it is
 * @throws AnyplaceError `protocol-error`
 */
export function parseWireJson(payload: Uint8Array, what: string, scanAboveBytes = SCAN_ABOVE_BYTES): unknown {
  if (payload.byteLength > scanAboveBytes) measure(payload, what)
  let text: string
  try {
    text = decoder.decode(payload)
  } catch {
    throw protocolError(`${capital(what)} of ${payload.byteLength} bytes is not UTF-8.`)
  }
  try {
    return JSON.parse(text) as unknown
  } catch {
    throw protocolError(`${capital(what)} of ${payload.byteLength} bytes is not JSON.`)
  }
}

const QUOTE = 0x22
const BACKSLASH = 0x5c
const COMMA = 0x2c

function measure(payload: Uint8Array, what: string): void {
  let depth = 0
  let containers = 0
  let values = 0
  for (let at = 0; at < payload.byteLength; at++) {
    const byte = payload[at]!
    if (byte === QUOTE) {
      at++
      while (at < payload.byteLength && payload[at] !== QUOTE) at += payload[at] === BACKSLASH ? 2 : 1
    } else if (byte === 0x7b || byte === 0x5b) {
      containers++
      depth++
      if (depth > MAX_DEPTH) throw protocolError(`${capital(what)} nests deeper than ${MAX_DEPTH}.`)
    } else if (byte === 0x7d || byte === 0x5d) depth--
    else if (byte === COMMA) values++
  }
  if (containers > MAX_CONTAINERS || values > MAX_VALUES) {
    throw protocolError(
      `${capital(what)} holds ${values} values in ${containers} objects and lists, which is too much.`,
    )
  }
}

function capital(what: string): string {
  return what.charAt(0).toUpperCase() + what.slice(1)
}
