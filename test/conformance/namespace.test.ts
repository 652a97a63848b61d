import { conformance } from '../../conformance/index.ts'
import { doctor } from '../../src/index.ts'
import { DAEMON_POWERS, localTarget } from './local-target.ts'
import { vitestApi } from './vitest-api.ts'

// Limits need control groups that this user may make. What doctor says decides which half is checked: in force, or refused.
const limits = (await doctor({ on: 'local/namespace' })).find(({ subject }) => subject === 'cgroups')
const target = localTarget('namespace', {
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
