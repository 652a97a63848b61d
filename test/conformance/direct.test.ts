import { conformance } from '../../conformance/index.ts'
import { DAEMON_POWERS, localTarget } from './local-target.ts'
import { vitestApi } from './vitest-api.ts'

const target = localTarget('direct', { powers: [...DAEMON_POWERS, 'python', 'workspace', 'workdir'] })
await conformance(target, vitestApi)
