import type { Requirements } from '../requirement.ts'

/** Standard streams: exact, separate, bounded. */
export const streamRequirements = {
  'streams:binary': {
    behaviour: '64 MiB of random bytes on stdout and on stderr at once arrive exactly and apart.',
    source: 'Q2',
    slow: true,
  },
  'streams:two-million-lines': { behaviour: '2,000,000 lines arrive complete (sha256).', source: 'Q3' },
  'streams:stdin-closed': { behaviour: 'stdin is closed unless asked for, so cat ends.', source: 'Q5' },
  'streams:stdin-input': { behaviour: 'run’s input arrives exactly, then end of file.', source: 'A2' },
  'streams:stdin-back-pressure': {
    behaviour: '10 MiB on stdin arrive exactly, and a command that does not read stops the writer.',
    source: 'Q6',
  },
  'streams:stdin-early-exit': {
    behaviour: 'A command that ends without reading its stdin does not hang or crash the client.',
    source: 'Q6',
  },
  'streams:live': { behaviour: 'Output arrives while the command runs.', source: 'A2' },
  'streams:lines': {
    behaviour: 'lines() keeps order and UTF-8 characters across chunks, and a last line without line feed.',
    source: 'A2',
  },
  'streams:cap': { behaviour: 'Collected output is capped with truncated, as head, tail or both.', source: 'Q16' },
  'streams:stalled-reader': {
    behaviour: 'A reader that stalls on one process never starves another.',
    source: 'DESIGN execd',
  },
  'streams:back-pressure': {
    behaviour: 'A reader that stalls stops its process; no byte is lost and memory stays bounded.',
    source: 'A2, DESIGN execd',
  },
} as const satisfies Requirements
