import { conformance } from '../../conformance/index.ts'
import { CONTAINER_POWERS, DAEMON_POWERS } from './local-target.ts'
import { sshLabNode, sshTarget } from './ssh-target.ts'
import { vitestApi } from './vitest-api.ts'

const node = await sshLabNode()
const target = sshTarget('docker', node, {
  // Directories of this computer are not on the host.
  powers: [
    ...DAEMON_POWERS,
    ...CONTAINER_POWERS.filter((power) => power !== 'mounts' && power !== 'workspace'),
    'python',
  ],
  manyAtOnce: 20,
})
await conformance(target, vitestApi)
