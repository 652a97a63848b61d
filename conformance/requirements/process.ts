import type { Requirements } from '../requirement.ts'

/** Commands: what reaches them and what they report. */
export const processRequirements = {
  'process:argv-exact': {
    behaviour: 'Arguments with spaces, quotes, newlines, $(), leading dashes, unicode and empty ones arrive unchanged.',
    source: 'Q1',
  },
  'process:argv-not-utf8': {
    behaviour: 'Arguments that are not valid UTF-8 arrive byte for byte.',
    source: 'issue: bad input',
  },
  'process:nul-refused': {
    behaviour: 'A NUL in argv, env, cwd or a path is refused as invalid-argument before anything starts.',
    source: 'issue: bad input',
  },
  'process:empty-argv-refused': {
    behaviour: 'An empty argv is refused as invalid-argument.',
    source: 'issue: bad input',
  },
  'process:env-given': {
    behaviour: 'Variables of the sandbox and of the command arrive unchanged; the command’s win.',
    source: 'A1',
  },
  'process:env-minimal': {
    behaviour:
      'A command has PATH, HOME, LANG and TERM, the sandbox’s id (ANYPLACE_SANDBOX), and only what was given besides.',
    source: 'DESIGN execd',
  },
  'process:client-env-hidden': {
    behaviour: 'No process of the sandbox has a variable of the client’s environment.',
    source: 'issue 6',
  },
  'process:cwd': { behaviour: 'cwd defaults to the workdir and relative ones resolve against it.', source: 'A4' },
  'process:cwd-missing': { behaviour: 'A cwd that does not exist is a typed error that names it.', source: 'A2' },
  'process:home-writable': { behaviour: 'HOME exists and can be written.', source: 'DESIGN local engines' },
  'process:exit-codes': {
    behaviour: 'Exit codes 0, 1, 3 and 255 are reported as they are; run resolves for all.',
    source: 'Q4',
  },
  'process:exit-127-126': {
    behaviour:
      'A program that is missing is 127, one that cannot be run 126, from a shell and from argv, with the reason on stderr.',
    source: 'Q4',
  },
  'process:exit-signal': { behaviour: 'Death by a signal is reported as its name and 128 + its number.', source: 'Q4' },
  'process:check': {
    behaviour: 'check: true rejects with the result’s fields; without it run resolves.',
    source: 'A2',
  },
  'process:shell': { behaviour: 'shell runs a string with /bin/sh, heredocs included.', source: 'Q7' },
  'process:background-child': {
    behaviour: 'A background child that holds stdout open does not hang run.',
    source: 'Q8',
  },
  'process:timeout': {
    behaviour: 'A deadline kills the whole tree at the place, keeps the partial output and reports 124 and timedOut.',
    source: 'Q9, A2',
  },
  'process:cancel': {
    behaviour: 'A cancel kills the whole tree, keeps the partial output and reports 130.',
    source: 'Q10, A2',
  },
  'process:cancel-early': {
    behaviour: 'A signal that is aborted already starts nothing and rejects with cancelled.',
    source: 'A2',
  },
  'process:list': { behaviour: 'processes() lists running and kept processes with argv, pid and exit.', source: 'A3' },
  'process:signal': { behaviour: 'signal() reaches the process’s group.', source: 'A2' },
  'process:duration': { behaviour: 'A result carries its duration in milliseconds.', source: 'A2' },
  'process:many': {
    behaviour: '500 commands in flight in one sandbox all finish, each with its own output and exit code.',
    source: 'issue: what it must reach',
    why: 'on a platform session each is an exec of the platform’s own, so 50 there',
  },
  'process:user-switch': {
    behaviour: 'A command can run as another uid and gid, without the rights of the sandbox’s user.',
    source: 'A1',
    needs: ['user', 'idRange'],
  },
  'process:user-unknown': { behaviour: 'An unknown user name is refused and named.', source: 'issue: bad input' },
  'process:key': {
    behaviour: 'The same spawn key sent twice starts one process.',
    source: 'Q14',
    needs: ['spawnKeys'],
  },
  'process:oom': {
    behaviour: 'Memory pressure kills the command, reported as oomKilled, and not the daemon.',
    source: 'issue 6, DESIGN execd',
    needs: ['memoryLimitMiB'],
  },
  'process:pty-size': {
    behaviour: 'A command on a terminal sees its size, also after resize.',
    source: 'Q15',
    needs: ['pty'],
  },
  'process:pty-interrupt': {
    behaviour: 'Ctrl-C on the terminal interrupts the command.',
    source: 'Q15',
    needs: ['pty'],
  },
  'process:pty-echo': { behaviour: 'What is typed is echoed once and nothing is lost.', source: 'Q15', needs: ['pty'] },
} as const satisfies Requirements
