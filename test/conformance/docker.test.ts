import { conformance } from '../../conformance/index.ts'
import { CONTAINER_POWERS, DAEMON_POWERS, localTarget } from './local-target.ts'
import { vitestApi } from './vitest-api.ts'

const target = localTarget('docker', {
  powers: [...DAEMON_POWERS, ...CONTAINER_POWERS, 'python'],
  manyAtOnce: 20,
})
await conformance(target, vitestApi)
