import { resolve } from 'node:path'
import type { NodeConfig, NodeInfo } from '../../nodes/registry/node-records.ts'
import type { NodeTestStep } from '../../nodes/registry/test-node.ts'
import { defineCommand, flag, list, value } from '../command.ts'
import { EXIT_FAILURE } from '../exit-codes.ts'
import { formatDuration, parseDuration } from '../parse-duration.ts'
import { parseText } from '../parse-values.ts'
import { printableLine } from '../printable.ts'
import { removeEach } from '../remove-each.ts'
import { given } from '../sandbox-request.ts'
import { jsonOption } from '../shared-options.ts'
import { fields, table } from '../table.ts'
import { usageError } from '../usage-error.ts'
import { ValueFault } from '../value-fault.ts'
import { heads } from '../verb-heads.ts'

const nodeArgument = {
  placeholder: 'NODE',
  summary: 'name of a node, as `anyplace nodes list` shows it',
  presence: 'required',
} as const

export const nodesAddCommand = defineCommand({
  ...heads['nodes add'],
  details:
    'With --host it is a host behind SSH, without one it is this computer with settings of its own. Nothing is connected to; ' +
    '`anyplace nodes test` does.',
  examples: [
    {
      command: 'anyplace nodes add gpu-box --host gpu.example.com --user ann --key work',
      summary: 'a host, with a key of the vault',
    },
    {
      command: 'anyplace nodes add lab --host lab -J bastion --default',
      summary: 'an alias of your ssh config, behind a jump host',
    },
    { command: 'anyplace nodes add boxed --engine docker', summary: 'this computer, always with Docker' },
  ],
  otherOptions: {
    password: 'install a key instead: anyplace keys copy-id KEY HOST',
    name: 'the name stands behind `add`',
    type: 'with --host it is ssh, without one it is local',
  },
  arguments: { name: { placeholder: 'NAME', summary: 'name for --on', presence: 'required' } },
  options: {
    host: value('HOST', 'host name, address, or alias of your ssh config', parseText),
    port: value('PORT', "the ssh server's port (default: what your ssh config says, else 22)", parsePort),
    user: value('USER', 'user there (default: what your ssh config says, else your own name)', parseText),
    key: value('KEY', 'key of the vault to log in with (default: what your own ssh would use)', parseText, 'k'),
    identity: value('FILE', 'private key file to log in with', parseText, 'i'),
    jump: list('HOST', 'host to go through, as user@host:port or an alias; in order', parseText, 'J'),
    workspace: value('DIR', 'directory of our sandboxes (ssh: ~/.anyplace; local: the current one)', parseText),
    engine: value('ENGINE', 'docker, podman, namespace or direct (default: what works there)', parseText),
    acceptNewHostKey: flag('take the host key that it shows first; a changed one is always refused'),
    sshConfig: value('FILE', 'OpenSSH configuration to read instead of your own', parseText),
    connectTimeout: value('DURATION', 'how long connecting may take (default: 20s)', parseDuration),
    idleClose: value('DURATION', 'close an unused connection after this (default: 5m)', parseDuration),
    slotSeccomp: value(
      'FILE',
      'Docker: seccomp profile that lets slots have level namespace (docs/slots.md)',
      parseText,
    ),
    slotApparmor: value('NAME', 'Docker: AppArmor profile beside it, or unconfined', parseText),
    default: flag('work runs there when nothing else is said'),
    ...jsonOption,
  },
  async run({ arguments: { name }, options, io, reporter, api }) {
    const path = (text: string | undefined): string | undefined =>
      text === undefined ? undefined : resolve(io.cwd, text)
    const { host, workspace, engine } = options
    const common = {
      ...(given('engine', engine) as Pick<NodeConfig, 'engine'>),
      ...given('slotSeccompProfile', path(options.slotSeccomp)),
      ...given('slotAppArmorProfile', options.slotApparmor),
    }
    const jumps = options.jump.flatMap((hops) => hops.split(','))
    const ssh = {
      ...given('port', options.port),
      ...given('username', options.user),
      ...given('key', options.key),
      ...given('identityFile', path(options.identity)),
      ...(jumps.length === 0 ? {} : { jumpHosts: jumps }),
      ...(options.acceptNewHostKey ? { acceptNewHostKey: true } : {}),
      ...given('configFile', path(options.sshConfig)),
      ...given('connectTimeoutMs', options.connectTimeout),
      ...given('idleCloseMs', options.idleClose),
    }
    if (host === undefined && Object.keys(ssh).length > 0) {
      throw usageError(
        `A node without --host is this computer, which has no ${Object.keys(ssh).join(', ')}.`,
        `for example: anyplace nodes add ${name} --host HOST`,
        '--host',
      )
    }
    const config: NodeConfig =
      host === undefined
        ? { type: 'local', ...common, workspace: path(workspace) ?? io.cwd }
        : { type: 'ssh', host, ...common, ...ssh, ...given('workspace', workspace) }
    const { addNode } = await api()
    const node = await addNode(name, config, { isDefault: options.default })
    await reporter.result({ node }, `${node.name}\n`)
  },
})

export const nodesListCommand = defineCommand({
  ...heads['nodes list'],
  examples: [{ command: 'anyplace nodes list', summary: 'the star is where work runs when nothing else is said' }],
  arguments: {},
  options: { quiet: flag('print names only', 'q'), ...jsonOption },
  async run({ options, reporter, api }) {
    const { listNodes } = await api()
    const nodes = await listNodes()
    const rows = nodes.map((node) => [
      `${node.isDefault ? '*' : ' '} ${node.name}`,
      node.config.type,
      whereOf(node.config),
      healthOf(node, false),
    ])
    const text = options.quiet
      ? nodes.map(({ name }) => `${name}\n`).join('')
      : table(['  NAME', 'TYPE', 'WHERE', 'HEALTH'], rows)
    await reporter.result({ nodes }, text)
  },
})

export const nodesShowCommand = defineCommand({
  ...heads['nodes show'],
  examples: [{ command: 'anyplace nodes show gpu-box', summary: 'its settings, its health and when it was probed' }],
  arguments: { node: nodeArgument },
  options: { ...jsonOption },
  async run({ arguments: { node: name }, reporter, api }) {
    const { getNode } = await api()
    const node = await getNode(name)
    const settings = Object.entries(node.config).filter(([, setting]) => setting !== undefined)
    const pairs: [string, string][] = [
      ['name', node.isDefault ? `${node.name} (default)` : node.name],
      ...settings.map(([field, setting]): [string, string] => [
        field,
        Array.isArray(setting) ? setting.join(', ') : String(setting),
      ]),
      ['health', healthOf(node, true)],
      ['probed', node.probe === undefined ? 'never' : `${ago(node.probe.at)} ago`],
    ]
    await reporter.result({ node }, fields(pairs))
  },
})

const MARKS = { ok: 'ok  ', warning: 'warn', unavailable: 'no  ', failed: 'FAIL' } as const

export const nodesTestCommand = defineCommand({
  ...heads['nodes test'],
  details:
    'The exit code is 0 when sandboxes can be opened there and 125 when not. What is found is kept as its health.',
  examples: [{ command: 'anyplace nodes test gpu-box', summary: 'key, connection, engines' }],
  arguments: { node: nodeArgument },
  options: { ...jsonOption },
  async run({ arguments: { node }, io, reporter, api }) {
    const { testNode } = await api()
    const lines: Promise<void>[] = []
    const onStep = (step: NodeTestStep): void => {
      if (!reporter.json) lines.push(reporter.result({}, stepText(step)))
    }
    const result = await testNode(node, { signal: io.signal, onStep })
    await Promise.all(lines)
    if (reporter.json) await reporter.result(result, '')
    return result.state === 'ok' ? 0 : EXIT_FAILURE
  },
})

export const nodesDefaultCommand = defineCommand({
  ...heads['nodes default'],
  examples: [
    { command: 'anyplace nodes default gpu-box', summary: 'from now on' },
    { command: 'anyplace nodes default local', summary: 'this computer again' },
  ],
  arguments: { node: nodeArgument },
  options: { ...jsonOption },
  async run({ arguments: { node }, reporter, api }) {
    const { setDefaultNode } = await api()
    await setDefaultNode(node)
    await reporter.result({ default: node }, `${node}\n`)
  },
})

export const nodesRmCommand = defineCommand({
  ...heads['nodes rm'],
  details: 'Sandboxes there live to the end of their time; end them before with `anyplace rm`. Its key stays.',
  examples: [{ command: 'anyplace nodes rm gpu-box', summary: 'one' }],
  arguments: { nodes: { ...nodeArgument, presence: 'one-or-more' } },
  options: { ...jsonOption },
  async run({ arguments: { nodes }, io, reporter, api }) {
    const { removeNode } = await api()
    return removeEach(nodes, 'node', (node) => removeNode(node), io, reporter)
  },
})

function stepText({ step, status, message, hint }: NodeTestStep): string {
  const line = `${MARKS[status]}  ${step.padEnd(9)}  ${printableLine(message)}\n`
  return status === 'ok' || hint === undefined ? line : `${line}${' '.repeat(17)}hint: ${printableLine(hint)}\n`
}

function whereOf(config: NodeConfig): string {
  if (config.type === 'local') return config.engine === undefined ? 'this computer' : `this computer, ${config.engine}`
  const user = config.username === undefined ? '' : `${config.username}@`
  return `${user}${config.host}${config.port === undefined ? '' : `:${config.port}`}`
}

function healthOf({ health }: NodeInfo, withReason: boolean): string {
  if (health === undefined) return 'not tested'
  const reason = withReason && health.message !== undefined ? `: ${health.message}` : ''
  return `${health.state} (${ago(health.checkedAt)} ago)${reason}`
}

function ago(date: Date): string {
  return formatDuration(Math.max(0, Date.now() - date.getTime()))
}

function parsePort(text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0
  if (port < 1 || port > 65_535) throw new ValueFault(`${JSON.stringify(text)} is no port from 1 to 65535`, '22')
  return port
}
