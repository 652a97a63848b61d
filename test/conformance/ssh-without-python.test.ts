import { conformance } from '../../conformance/index.ts'
import { sshLabNode, sshTarget } from './ssh-target.ts'
import { vitestApi } from './vitest-api.ts'

const node = await sshLabNode('plain')
const target = sshTarget('direct', node, {
  name: 'ssh-without-python',
  powers: ['stats', 'workspace', 'workdir'],
  manyAtOnce: 20,
  knownFailures: {
    'kill:fork-storm': "a shell walks a whole machine's processes slower than a storm forks",
  },
})
await conformance(target, vitestApi)
