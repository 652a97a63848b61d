import { utf8Lossy } from '../kit/text-bytes.ts'
import type { AnyplaceError, SlotCommand, SlotResult } from '../spec/index.ts'
import { protocolError } from './frames.ts'
import { parseWireError } from './wire-checks.ts'
import { parseWireJson } from './wire-json.ts'

const HEAD_BYTES = 25
const TIMED_OUT = 1
const OOM_KILLED = 2
const TRUNCATED = 4
const ERROR_BYTES = 256 * 1024
const NAME = /^SIG[A-Z0-9+-]{1,12}$/

/** One command as it was sent, with what its result may hold. */
export interface SentCommand extends SlotCommand {
  readonly maxOutputBytes: number
}

/**
 * Puts the records of a batch together from its stream's bytes (see SlotsRequest in protocol.ts). Sizes are checked before
 * anything is kept.
 */
export class SlotRecords {
  readonly results: (SlotResult | undefined)[]
  readonly #commands: readonly SentCommand[]
  readonly #onResult: (index: number, result: SlotResult) => void
  #chunks: Uint8Array[] = []
  #held = 0
  #needed = HEAD_BYTES

  constructor(commands: readonly SentCommand[], onResult: (index: number, result: SlotResult) => void) {
    this.#commands = commands
    this.#onResult = onResult
    this.results = commands.map(() => undefined)
  }

  /** The bytes are only lent. @throws AnyplaceError `protocol-error` */
  push(bytes: Uint8Array): void {
    this.#chunks.push(Uint8Array.prototype.slice.call(bytes))
    this.#held += bytes.byteLength
    if (this.#held < this.#needed) return
    let rest =
      this.#chunks.length === 1 ? Buffer.from(this.#chunks[0]!.buffer) : Buffer.concat(this.#chunks, this.#held)
    for (;;) {
      this.#needed = this.#sizeOf(rest)
      if (rest.byteLength < this.#needed) break
      this.#take(rest.subarray(0, this.#needed))
      rest = rest.subarray(this.#needed)
    }
    this.#chunks = rest.byteLength === 0 ? [] : [Uint8Array.prototype.slice.call(rest)]
    this.#held = rest.byteLength
  }

  /** All results. @throws AnyplaceError `protocol-error` when one is missing */
  done(): readonly SlotResult[] {
    return this.results.map((result, index) => {
      if (result === undefined) throw protocolError(`The batch ended without a result of command ${index}.`)
      return result
    })
  }

  #sizeOf(bytes: Buffer): number {
    if (bytes.byteLength < HEAD_BYTES) return HEAD_BYTES
    const index = bytes.readUInt32BE(0)
    const command = this.#commands[index]
    if (command === undefined || this.results[index] !== undefined) {
      throw protocolError(`A result came for command ${index} of the batch, which is not waiting for one.`)
    }
    const kind = bytes[4]
    const limit = kind === 0 ? Math.max(command.maxOutputBytes, ERROR_BYTES) : ERROR_BYTES
    const [stdout, stderr] = [bytes.readUInt32BE(16), bytes.readUInt32BE(20)]
    if ((kind !== 0 && kind !== 1) || stdout > limit || stderr > limit) {
      throw protocolError(`The result of command ${index} of the batch says it has ${stdout} and ${stderr} bytes.`)
    }
    return HEAD_BYTES + bytes[24]! + stdout + stderr
  }

  #take(record: Buffer): void {
    const index = record.readUInt32BE(0)
    const { slot } = this.#commands[index]!
    const outAt = HEAD_BYTES + record[24]!
    const errAt = outAt + record.readUInt32BE(16)
    const stdoutBytes = Uint8Array.prototype.slice.call(record, outAt, errAt)
    const stderrBytes = Uint8Array.prototype.slice.call(record, errAt)
    let result: SlotResult
    if (record[4] === 1) {
      const what = `the error of command ${index}`
      const error: AnyplaceError = parseWireError(parseWireJson(stdoutBytes, what), what)
      result = { slot, error }
    } else {
      const flags = record[5]!
      const exitCode = record.readUInt16BE(6)
      const durationMs = record.readDoubleBE(8)
      const signal = record.toString('latin1', HEAD_BYTES, outAt)
      if (exitCode > 255 || !Number.isFinite(durationMs) || (signal !== '' && !NAME.test(signal))) {
        throw protocolError(`The result of command ${index} of the batch is not one.`)
      }
      result = {
        slot,
        result: {
          exitCode,
          signal: signal === '' ? null : signal,
          timedOut: (flags & TIMED_OUT) !== 0,
          oomKilled: (flags & OOM_KILLED) !== 0,
          durationMs,
          stdoutBytes,
          stderrBytes,
          stdout: utf8Lossy(stdoutBytes),
          stderr: utf8Lossy(stderrBytes),
          truncated: (flags & TRUNCATED) !== 0,
          processId: '',
        },
      }
    }
    this.results[index] = result
    this.#onResult(index, result)
  }
}
