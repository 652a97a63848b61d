import type { Requirements } from '../requirement.ts'

/** Every field is enforced and proven in force, or open fails and names it. */
export const fieldRequirements = {
  'fields:cpu-total': {
    behaviour: 'cpu above the machine’s total is refused and names the field; below it is accepted.',
    source: 'A1',
  },
  'fields:memory-total': {
    behaviour: 'memoryMiB above the machine’s total is refused and names the field; below it is accepted.',
    source: 'A1',
  },
  'fields:gpu': {
    behaviour: 'A GPU request is refused clearly where there is no GPU.',
    source: 'issue 3',
    why: 'machines with a GPU are told by info().gpus of their own',
  },
  'fields:image': { behaviour: 'The image asked for is the one that runs.', source: 'A1', needs: ['image'] },
  'fields:image-missing': {
    behaviour: 'An image that cannot be had is image-not-found and nothing is left.',
    source: 'issue: bad input',
    needs: ['image'],
  },
  'fields:image-refused': {
    behaviour: 'image is refused, naming engine and one that can.',
    source: 'A1',
    lacks: 'image',
  },
  'fields:cpu-limit': {
    behaviour: 'cpuLimit is in force: reported, and a busy loop gets no more.',
    source: 'A1',
    needs: ['cpuLimit'],
  },
  'fields:cpu-limit-refused': {
    behaviour: 'cpuLimit is refused, naming engine and one that can.',
    source: 'A1',
    lacks: 'cpuLimit',
  },
  'fields:memory-limit': {
    behaviour: 'memoryLimitMiB is in force and reported.',
    source: 'A1',
    needs: ['memoryLimitMiB'],
  },
  'fields:memory-limit-refused': {
    behaviour: 'memoryLimitMiB is refused, naming engine and one that can.',
    source: 'A1',
    lacks: 'memoryLimitMiB',
  },
  'fields:pids-limit': { behaviour: 'pidsLimit is in force and reported.', source: 'A1', needs: ['pidsLimit'] },
  'fields:pids-limit-default': {
    behaviour: 'Without one, 4096 processes are the limit.',
    source: 'A1',
    needs: ['pidsLimit'],
  },
  'fields:pids-limit-refused': {
    behaviour: 'pidsLimit is refused, naming engine and one that can.',
    source: 'A1',
    lacks: 'pidsLimit',
  },
  'fields:mounts': {
    behaviour: 'A mount is there, read-only unless asked, and the machine’s directory changes when writable.',
    source: 'A1',
    needs: ['mounts'],
  },
  'fields:mounts-refused': {
    behaviour: 'mounts are refused, naming engine and one that can.',
    source: 'A1',
    lacks: 'mounts',
  },
  'fields:mount-source-missing': {
    behaviour: 'A mount source that does not exist is refused and not made.',
    source: 'issue: bad input',
    needs: ['mounts'],
  },
  'fields:workspace': {
    behaviour:
      'Commands start in the workspace, writable as the caller’s uid; it is /workspace where files are private.',
    source: 'B1',
    needs: ['workspace'],
  },
  'fields:workspace-refused': {
    behaviour: 'workspace is refused, naming engine and one that can.',
    source: 'B1',
    lacks: 'workspace',
  },
  'fields:workdir': {
    behaviour: 'workdir is made and commands and files start there.',
    source: 'A1',
    needs: ['workdir'],
  },
  'fields:user': { behaviour: 'user is whom commands and files run as.', source: 'A1', needs: ['user'] },
  'fields:user-refused': { behaviour: 'user is refused, naming engine and one that can.', source: 'A1', lacks: 'user' },
  'fields:network-off': { behaviour: 'network: false leaves loopback only.', source: 'A1, Q51', needs: ['networkOff'] },
  'fields:network-off-refused': {
    behaviour: 'network: false is refused, naming engine and one that can.',
    source: 'Q51',
    lacks: 'networkOff',
  },
  'fields:labels': { behaviour: 'Labels are kept and listed.', source: 'A1' },
  'fields:idle-refused': {
    behaviour: 'idleTimeoutMs is refused where it cannot be kept.',
    source: 'A1',
    lacks: 'idleTimeout',
  },
  'fields:extend-refused': { behaviour: 'extend is refused where it cannot be kept.', source: 'A1', lacks: 'extend' },
  'fields:wrong-values': {
    behaviour: 'Wrong names, limits, lifetimes, paths and engines are refused as invalid-argument and name the field.',
    source: 'issue: bad input',
  },
  'fields:volumes-refused': { behaviour: 'volumes are refused as unsupported yet, never ignored.', source: 'issue 2' },
  'fields:powers-honest': {
    behaviour: 'info().powers is what was declared, and a call of a missing power is unsupported.',
    source: 'A1, K3',
  },
} as const satisfies Requirements
