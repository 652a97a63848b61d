import type { ResetReport, ScanReport, Slot, SlotRemnant } from '../spec/index.ts'
import { printable } from './printable.ts'
import { asArray, asBoolean, asInteger, asNumber, asObject, asOneOf, asText, own } from './wire-checks.ts'

const PATH_CHARACTERS = 64 * 1024
const MAX_UID = 0xffff_ffff

/** A slot as the daemon tells it. @throws AnyplaceError `protocol-error` */
export function checkSlot(value: unknown, what: string): Slot {
  const slot = asObject(value, what)
  return {
    name: printable(asText(slot, 'name', what, 63), 63),
    uid: asInteger(slot, 'uid', what, 1, MAX_UID),
    gid: asInteger(slot, 'gid', what, 1, MAX_UID),
    home: asText(slot, 'home', what, PATH_CHARACTERS),
    isolation: asOneOf(slot, 'isolation', what, ['user', 'namespace'] as const),
    pidsLimit: asInteger(slot, 'pidsLimit', what, 1),
    state: asOneOf(slot, 'state', what, ['ready', 'resetting', 'dirty'] as const),
    ...(own(slot, 'template') === undefined ? {} : { template: asText(slot, 'template', what, PATH_CHARACTERS) }),
  }
}

/** @throws AnyplaceError `protocol-error` */
export function checkSlots(value: unknown): readonly Slot[] {
  const what = 'the response to slots list'
  return asArray(value, what).map((one) => checkSlot(one, `${what}[]`))
}

/** @throws AnyplaceError `protocol-error` */
export function checkReset(value: unknown): ResetReport {
  const what = 'the response to slots reset'
  const report = asObject(value, what)
  return {
    isClean: asBoolean(report, 'isClean', what),
    left: remnants(own(report, 'left'), `${what}.left`),
    killedProcesses: asInteger(report, 'killedProcesses', what),
    durationMs: asNumber(report, 'durationMs', what),
  }
}

/** @throws AnyplaceError `protocol-error` */
export function checkScan(value: unknown): ScanReport {
  const what = 'the response to slots scan'
  const report = asObject(value, what)
  return {
    left: remnants(own(report, 'left'), `${what}.left`),
    total: asInteger(report, 'total', what),
    durationMs: asNumber(report, 'durationMs', what),
  }
}

function remnants(value: unknown, what: string): readonly SlotRemnant[] {
  return asArray(value, what).map((one) => {
    const remnant = asObject(one, `${what}[]`)
    return {
      kind: asOneOf(remnant, 'kind', what, ['process', 'file', 'ipc'] as const),
      what: asText(remnant, 'what', what, PATH_CHARACTERS),
    }
  })
}
