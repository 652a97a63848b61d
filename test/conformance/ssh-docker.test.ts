import { conformance } from '../../conformance/index.ts'
import { CONTAINER_POWERS, DAEMON_POWERS } from './local-target.ts'
import { sshTarget } from './ssh-api.ts'
import { ownWorkspace } from './ssh-place.ts'
import { vitestApi } from './vitest-api.ts'

const target = sshTarget('docker', {
  name: 'ssh-docker',
  workspace: ownWorkspace(),
  powers: [
    ...DAEMON_POWERS,
    // Directories of this computer are not on the host.
    ...CONTAINER_POWERS.filter((power) => power !== 'mounts' && power !== 'workspace'),
    'python',
  ],
  manyAtOnce: 20,
})
await conformance(target, vitestApi)
