import { conformance } from '../../conformance/index.ts'
import { DAEMON_POWERS } from './local-target.ts'
import { sshLabNode, sshTarget } from './ssh-target.ts'
import { vitestApi } from './vitest-api.ts'

const node = await sshLabNode()
const limits = node.findings.find(({ subject }) => subject === 'cgroups')
const target = sshTarget('namespace', node, {
  powers: [
    ...DAEMON_POWERS,
    ...(limits?.status === 'ok' ? (['cpuLimit', 'memoryLimitMiB', 'pidsLimit'] as const) : []),
    'python',
    'mounts',
    'workspace',
    'workdir',
    'networkOff',
    'privateFiles',
    'privateProcesses',
    'hardened',
  ],
})
await conformance(target, vitestApi)
