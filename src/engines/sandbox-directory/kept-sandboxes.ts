import type { CallOptions, Engine, Machine } from '../../spec/index.ts'
import { DirectoryHost } from './directory-host.ts'
import { findRecord, hostInfo, listRecords, removeRemains, removeSandbox } from './sandbox-store.ts'

/** The part of an engine that only reads what is kept in sandbox directories: the same for every engine that keeps them. */
export function keptSandboxes(machine: Machine, engine: string): Pick<Engine, 'attach' | 'list' | 'remove'> {
  return {
    async attach(nameOrId, options: CallOptions = {}) {
      const facts = await machine.facts(options)
      const record = await findRecord(machine, facts.stateDirectory, engine, nameOrId, options)
      if (record === undefined || (await hostInfo(machine, facts, record, options)).state !== 'running')
        return undefined
      return new DirectoryHost(machine, facts, record)
    },
    async *list(options: CallOptions = {}) {
      const facts = await machine.facts(options)
      for await (const record of listRecords(machine, facts.stateDirectory, engine, options))
        yield hostInfo(machine, facts, record, options)
    },
    async remove(id, options: CallOptions = {}) {
      const { stateDirectory } = await machine.facts(options)
      const record = await findRecord(machine, stateDirectory, engine, id, options)
      if (record !== undefined) await removeSandbox(machine, stateDirectory, record, options)
      // It may just be removing itself, or have been cut off while it did.
      else await removeRemains(machine, stateDirectory, id, options)
    },
  }
}
