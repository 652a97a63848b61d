import { conformance } from '../../conformance/index.ts'
import { DAEMON_POWERS, localTarget } from './local-target.ts'
import { vitestApi } from './vitest-api.ts'

const isRoot = process.getuid?.() === 0
const target = localTarget('direct', {
  powers: [...DAEMON_POWERS, 'python', 'workspace', 'workdir', ...(isRoot ? (['user', 'idRange'] as const) : [])],
})
await conformance(target, vitestApi)
