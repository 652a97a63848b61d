import type { Requirements } from '../requirement.ts'

/** Ports inside the sandbox. */
export const tunnelRequirements = {
  'tunnels:connect': {
    behaviour: 'Bytes go both ways exactly, with half-close.',
    source: 'A4',
    needs: ['tunnels', 'python'],
  },
  'tunnels:forward': {
    behaviour: 'A forwarded port serves several connections, on 127.0.0.1 only, until closed.',
    source: 'A4, Q53',
    needs: ['tunnels', 'python'],
  },
  'tunnels:network-off': {
    behaviour: 'Tunnels work with the network off.',
    source: 'DESIGN execd',
    needs: ['tunnels', 'python', 'networkOff'],
  },
  'tunnels:nothing-listens': {
    behaviour: 'A port where nothing listens is connection-lost.',
    source: 'A4',
    needs: ['tunnels'],
  },
  'tunnels:wrong-port': {
    behaviour: 'A port that is none is invalid-argument.',
    source: 'issue: bad input',
    needs: ['tunnels'],
  },
} as const satisfies Requirements
