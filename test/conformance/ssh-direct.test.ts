import { conformance } from '../../conformance/index.ts'
import { DAEMON_POWERS } from './local-target.ts'
import { sshTarget } from './ssh-api.ts'
import { ownWorkspace } from './ssh-place.ts'
import { vitestApi } from './vitest-api.ts'

const target = sshTarget('direct', {
  name: 'ssh-direct',
  workspace: ownWorkspace(),
  powers: [...DAEMON_POWERS, 'python', 'workspace', 'workdir'],
})
await conformance(target, vitestApi)
