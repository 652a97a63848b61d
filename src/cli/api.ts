import type * as copies from '../nodes/keys/copy-key.ts'
import type * as hosts from '../nodes/hosts/hosts.ts'
import type * as keys from '../nodes/keys/keys.ts'
import type * as nodes from '../nodes/open.ts'
import type * as probes from '../nodes/probe/probe.ts'
import type * as registry from '../nodes/registry/nodes.ts'
import type * as syncs from '../nodes/sync-tree.ts'
import type * as pools from '../nodes/standing-pools.ts'
import type * as tests from '../nodes/registry/test-node.ts'

/** What the command line calls of the library. */
export type CliApi = Pick<typeof nodes, 'open' | 'attach' | 'list' | 'gc' | 'remove' | 'doctor'> &
  Pick<typeof probes, 'probe'> &
  Pick<typeof syncs, 'syncUp' | 'syncDown' | 'isNode'> &
  Pick<typeof keys, 'generateKey' | 'addKey' | 'listKeys' | 'getKey' | 'removeKey'> &
  Pick<typeof copies, 'copyKey'> &
  Pick<typeof hosts, 'trustHost' | 'listHosts' | 'untrustHost'> &
  Pick<typeof registry, 'addNode' | 'listNodes' | 'getNode' | 'setDefaultNode' | 'removeNode'> &
  Pick<typeof tests, 'testNode'> &
  Pick<typeof pools, 'poolUp' | 'poolDown' | 'poolsStanding' | 'poolProfiles' | 'withStandingPool'>

export type CliSandbox = Awaited<ReturnType<CliApi['attach']>>

/** Each function with its module, which is imported when it is called: a verb loads what it needs, the help nothing. */
export function loadApi(): Promise<CliApi> {
  return Promise.resolve({
    open: async (...given) => (await import('../nodes/open.ts')).open(...given),
    attach: async (...given) => (await import('../nodes/open.ts')).attach(...given),
    list: async function* (...given) {
      yield* (await import('../nodes/open.ts')).list(...given)
    },
    gc: async (...given) => (await import('../nodes/open.ts')).gc(...given),
    remove: async (...given) => (await import('../nodes/open.ts')).remove(...given),
    doctor: async (...given) => (await import('../nodes/open.ts')).doctor(...given),
    probe: async (...given) => (await import('../nodes/probe/probe.ts')).probe(...given),
    isNode: async (...given) => (await import('../nodes/sync-tree.ts')).isNode(...given),
    syncUp: async (...given) => (await import('../nodes/sync-tree.ts')).syncUp(...given),
    syncDown: async (...given) => (await import('../nodes/sync-tree.ts')).syncDown(...given),
    generateKey: async (...given) => (await import('../nodes/keys/keys.ts')).generateKey(...given),
    addKey: async (...given) => (await import('../nodes/keys/keys.ts')).addKey(...given),
    listKeys: async (...given) => (await import('../nodes/keys/keys.ts')).listKeys(...given),
    getKey: async (...given) => (await import('../nodes/keys/keys.ts')).getKey(...given),
    removeKey: async (...given) => (await import('../nodes/keys/keys.ts')).removeKey(...given),
    copyKey: async (...given) => (await import('../nodes/keys/copy-key.ts')).copyKey(...given),
    trustHost: async (...given) => (await import('../nodes/hosts/hosts.ts')).trustHost(...given),
    listHosts: async (...given) => (await import('../nodes/hosts/hosts.ts')).listHosts(...given),
    untrustHost: async (...given) => (await import('../nodes/hosts/hosts.ts')).untrustHost(...given),
    addNode: async (...given) => (await import('../nodes/registry/nodes.ts')).addNode(...given),
    listNodes: async (...given) => (await import('../nodes/registry/nodes.ts')).listNodes(...given),
    getNode: async (...given) => (await import('../nodes/registry/nodes.ts')).getNode(...given),
    setDefaultNode: async (...given) => (await import('../nodes/registry/nodes.ts')).setDefaultNode(...given),
    removeNode: async (...given) => (await import('../nodes/registry/nodes.ts')).removeNode(...given),
    testNode: async (...given) => (await import('../nodes/registry/test-node.ts')).testNode(...given),
    poolUp: async (...given) => (await import('../nodes/standing-pools.ts')).poolUp(...given),
    poolDown: async (...given) => (await import('../nodes/standing-pools.ts')).poolDown(...given),
    poolsStanding: async (...given) => (await import('../nodes/standing-pools.ts')).poolsStanding(...given),
    poolProfiles: async (...given) => (await import('../nodes/standing-pools.ts')).poolProfiles(...given),
    withStandingPool: async (...given) => (await import('../nodes/standing-pools.ts')).withStandingPool(...given),
  })
}
