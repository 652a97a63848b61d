import { isAbsolute } from 'node:path'
import { AnyplaceError } from '../../spec/index.ts'
import { checkName } from '../check-name.ts'
import type { NodeConfig, SshNodeConfig } from './node-records.ts'
import { NODE_TYPES, RESERVED_NAMES } from './node-types.ts'
import { readSeccompProfile } from './slot-security.ts'
import { sshTargetOf } from './ssh-target-of.ts'

const COMMON = ['type', 'engine', 'workspace', 'slotSeccompProfile', 'slotAppArmorProfile']

const FIELDS: Readonly<Record<NodeConfig['type'], readonly string[]>> = {
  local: COMMON,
  ssh: [
    ...COMMON,
    'host',
    'port',
    'username',
    'key',
    'identityFile',
    'jumpHosts',
    'acceptNewHostKey',
    'configFile',
    'connectTimeoutMs',
    'idleCloseMs',
  ],
}

/**
 * Refuses what no node can be, before anything is stored or connected to.
 *
 * @throws AnyplaceError `invalid-argument` that names the field
 */
export async function checkNode(name: string, config: NodeConfig): Promise<void> {
  checkName(name, 'node')
  if (RESERVED_NAMES.includes(name.toLowerCase())) {
    throw fault('name', name, "is a provider's name", 'choose a name of your own, such as gpu-box')
  }
  if (!Object.hasOwn(NODE_TYPES, config.type)) {
    throw fault('type', config.type, 'is no type of node', `types are ${Object.keys(NODE_TYPES).join(', ')}`)
  }
  for (const [field, value] of Object.entries(config)) {
    if (value === undefined || FIELDS[config.type].includes(field)) continue
    throw fault(
      field,
      value,
      `is no field of a node of type ${config.type}`,
      `fields are ${FIELDS[config.type].join(', ')}`,
    )
  }
  const engines = NODE_TYPES[config.type]
  if (config.engine !== undefined && !engines.includes(config.engine)) {
    throw fault('engine', config.engine, 'is no engine', `engines are ${engines.join(', ')}`)
  }
  await checkSlotSecurity(config)
  if (config.type === 'ssh') return checkSsh(name, config)
  const { workspace } = config
  if (
    workspace !== undefined &&
    !(typeof workspace === 'string' && isAbsolute(workspace) && !workspace.includes('\0'))
  ) {
    throw fault('workspace', workspace, 'is no absolute path', 'give a directory of this computer')
  }
}

async function checkSlotSecurity({ engine, slotSeccompProfile, slotAppArmorProfile }: NodeConfig): Promise<void> {
  if (slotAppArmorProfile !== undefined) {
    if (typeof slotAppArmorProfile !== 'string' || !/^[\w./:+-]+$/.test(slotAppArmorProfile)) {
      throw fault('slotAppArmorProfile', slotAppArmorProfile, 'is no name of a profile')
    }
    if (slotSeccompProfile === undefined) {
      const hint = 'give slotSeccompProfile too'
      throw fault('slotAppArmorProfile', slotAppArmorProfile, 'stands without a seccomp profile', hint)
    }
  }
  if (slotSeccompProfile === undefined) return
  if (engine !== undefined && engine !== 'docker') {
    const hint = engine === 'namespace' ? 'its slots have level namespace without one' : 'use the engine docker'
    throw fault('slotSeccompProfile', slotSeccompProfile, `is for Docker; this node's engine is ${engine}`, hint)
  }
  if (typeof slotSeccompProfile !== 'string') throw fault('slotSeccompProfile', slotSeccompProfile, 'is no path')
  await readSeccompProfile(slotSeccompProfile)
}

async function checkSsh(name: string, config: SshNodeConfig): Promise<void> {
  const texts = ['host', 'username', 'key', 'identityFile', 'workspace', 'configFile'] as const
  for (const field of texts) {
    const value: unknown = config[field]
    if (value !== undefined && typeof value !== 'string') throw fault(field, value, 'is no text')
  }
  if (typeof config.host !== 'string' || config.host === '') {
    throw fault('host', config.host ?? '', 'is no host', 'name the host: anyplace nodes add NAME --host HOST')
  }
  const jumps: unknown = config.jumpHosts
  if (jumps !== undefined && !(Array.isArray(jumps) && jumps.every((hop) => typeof hop === 'string'))) {
    throw fault('jumpHosts', jumps, 'is no list of hosts')
  }
  if (config.acceptNewHostKey !== undefined && typeof config.acceptNewHostKey !== 'boolean') {
    throw fault('acceptNewHostKey', config.acceptNewHostKey, 'is neither true nor false')
  }
  for (const field of ['connectTimeoutMs', 'idleCloseMs'] as const) {
    const value = config[field]
    if (value !== undefined && !(Number.isSafeInteger(value) && value > 0)) {
      throw fault(field, value, 'is no whole number of milliseconds above 0')
    }
  }
  if (config.key !== undefined && config.identityFile !== undefined) {
    throw fault('identityFile', config.identityFile, 'stands beside a key', 'give one of key and identityFile')
  }
  const { checkTarget } = await import('../../providers/ssh/check-target.ts')
  checkTarget(sshTargetOf(name, config))
}

function fault(field: string, value: unknown, what: string, hint?: string): AnyplaceError {
  const shown = JSON.stringify(value) ?? typeof value
  return new AnyplaceError('invalid-argument', `${field} ${shown.slice(0, 200)} ${what}.`, { field, hint })
}
