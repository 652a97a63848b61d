import type { Requirements } from '../requirement.ts'

/** What a sandbox keeps out and in. */
export const isolationRequirements = {
  'isolation:told': { behaviour: 'info().isolation and info().network say what is true.', source: 'K3' },
  'isolation:files': {
    behaviour: 'Files of the machine that were not given cannot be seen.',
    source: 'B3',
    needs: ['privateFiles'],
  },
  'isolation:processes': {
    behaviour: 'Processes of the machine and of other sandboxes cannot be seen.',
    source: 'B3',
    needs: ['privateProcesses'],
  },
  'isolation:capabilities': {
    behaviour: 'No capability beyond SETUID, SETGID, KILL, CHOWN, FOWNER and DAC_OVERRIDE, and no new privileges.',
    source: 'Q53',
    needs: ['hardened'],
  },
  'isolation:no-engine-socket': { behaviour: 'No engine’s socket is inside.', source: 'Q53', needs: ['privateFiles'] },
  'isolation:no-published-ports': {
    behaviour: 'Nothing of a sandbox listens on the machine.',
    source: 'Q53',
    needs: ['privateProcesses'],
  },
  'secrets:reach-commands': { behaviour: 'A secret is in the environment of the sandbox’s commands.', source: 'A1' },
  'secrets:not-recorded': {
    behaviour: 'A secret is in no argv, no platform record, no state file, no info and no list.',
    source: 'Q49',
  },
  'secrets:not-in-errors': { behaviour: 'No error message holds a secret.', source: 'Q49' },
  'secrets:not-in-daemon': {
    behaviour: 'No process of the sandbox but the command has the secret in its environment or argv.',
    source: 'Q49',
  },
} as const satisfies Requirements
