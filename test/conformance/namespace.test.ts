import { conformance } from '../../conformance/index.ts'
import { doctor } from '../../src/index.ts'
import { DAEMON_POWERS, localTarget } from './local-target.ts'
import { vitestApi } from './vitest-api.ts'

// Limits need control groups, and whether those can be made depends on the machine and the user.
const canLimit = (await doctor({ on: 'local/namespace' })).some(
  ({ status, subject }) => subject === 'cgroups' && status === 'ok',
)

const target = localTarget('namespace', {
  powers: [
    ...DAEMON_POWERS,
    'python',
    'mounts',
    'workspace',
    'workdir',
    'networkOff',
    'privateFiles',
    'privateProcesses',
    'hardened',
    ...(canLimit ? (['cpuLimit', 'memoryLimitMiB', 'pidsLimit'] as const) : []),
  ],
})
await conformance(target, vitestApi)
