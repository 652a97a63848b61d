import { conformance } from '../../conformance/index.ts'
import { hasImage } from './has-image.ts'
import { CONTAINER_POWERS, localTarget } from './local-target.ts'
import { vitestApi } from './vitest-api.ts'

const image = 'anyplace-test/busybox:latest'
const target = localTarget('docker', {
  name: 'docker-busybox',
  powers: [...CONTAINER_POWERS, 'stats'],
  spec: { image },
  manyAtOnce: 10,
  also: () => hasImage(image),
})
await conformance(target, vitestApi)
