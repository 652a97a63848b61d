import { conformance } from '../../conformance/index.ts'
import { DAEMON_POWERS } from './local-target.ts'
import { sshLabNode, sshTarget } from './ssh-target.ts'
import { vitestApi } from './vitest-api.ts'

const node = await sshLabNode()
const target = sshTarget('direct', node, { powers: [...DAEMON_POWERS, 'python', 'workspace', 'workdir'] })
await conformance(target, vitestApi)
