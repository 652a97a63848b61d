import type { Requirements } from '../requirement.ts'

/** Processes that outlive their client. */
export const attachRequirements = {
  'attach:after-kill-9': {
    behaviour:
      'After kill -9 of its client a process can be attached to from another one: full output from byte 0, and the exit code.',
    source: 'Q11, A3',
    needs: ['attach'],
  },
  'attach:from-offset': {
    behaviour: 'attach replays from any offset of each stream.',
    source: 'Q11',
    needs: ['attach'],
  },
  'attach:exit-kept': {
    behaviour: 'A process that ended while nobody was there gives its output and exit code later.',
    source: 'A3',
    needs: ['attach'],
  },
  'attach:after-quiet': {
    behaviour: 'A process that nobody followed for a while can be attached to.',
    source: 'Q12',
    needs: ['attach'],
    why: 'the quiet time is ANYPLACE_QUIET_MS (3 s by default; the list says 10 minutes)',
  },
  'attach:stopped-client': {
    behaviour: 'A client that stood still in the middle of output misses nothing.',
    source: 'Q13',
    needs: ['attach'],
    why: 'the client is stopped for ANYPLACE_QUIET_MS (3 s by default; the list says 60 s)',
  },
  'attach:twice': {
    behaviour: 'Two clients can follow one process; each gets all of it.',
    source: 'A3',
    needs: ['attach'],
  },
  'attach:detached-handle': {
    behaviour: 'detach lets go of the handle and the process runs on.',
    source: 'A3',
    needs: ['attach'],
  },
  'attach:output-discarded': {
    behaviour:
      'Output beyond the journal that nobody read is dropped oldest first; attaching there is output-discarded with the first offset kept.',
    source: 'DESIGN execd',
    needs: ['attach'],
  },
  'attach:block': {
    behaviour: 'With onDetachedOverflow block nothing is dropped; the process waits.',
    source: 'DESIGN execd',
    needs: ['attach'],
  },
  'attach:unknown': { behaviour: 'An unknown process is process-not-found.', source: 'A3', needs: ['attach'] },
  'attach:stdin': { behaviour: 'stdin of a process survives a change of client.', source: 'A3', needs: ['attach'] },
} as const satisfies Requirements
