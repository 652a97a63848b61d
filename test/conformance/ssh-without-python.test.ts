import { conformance } from '../../conformance/index.ts'
import { sshLabNode, sshTarget } from './ssh-target.ts'
import { vitestApi } from './vitest-api.ts'

const node = await sshLabNode('plain')
const target = sshTarget('direct', node, {
  name: 'ssh-without-python',
  powers: ['stats', 'workspace', 'workdir'],
  manyAtOnce: 20,
})
await conformance(target, vitestApi)
