import { conformance } from '../../conformance/index.ts'
import { DAEMON_POWERS } from './local-target.ts'
import { hasLimits, sshTarget } from './ssh-api.ts'
import { ownWorkspace } from './ssh-place.ts'
import { vitestApi } from './vitest-api.ts'

const workspace = ownWorkspace()
const target = sshTarget('namespace', {
  name: 'ssh-namespace',
  workspace,
  powers: [
    ...DAEMON_POWERS,
    ...((await hasLimits(workspace)) ? (['cpuLimit', 'memoryLimitMiB', 'pidsLimit'] as const) : []),
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
