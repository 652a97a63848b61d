import { conformance } from '../../conformance/index.ts'
import { DAEMON_POWERS, localTarget } from './local-target.ts'
import { vitestApi } from './vitest-api.ts'

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
  ],
})
await conformance(target, vitestApi)
