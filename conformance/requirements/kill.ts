import type { Requirements } from '../requirement.ts'

/** Nothing survives a kill or a close. */
export const killRequirements = {
  'kill:tree': { behaviour: 'kill ends children and grandchildren.', source: 'Q9' },
  'kill:setsid': { behaviour: 'kill ends a descendant in a session of its own.', source: 'issue 6' },
  'kill:double-fork': { behaviour: 'kill ends a descendant whose parent has gone.', source: 'issue 6' },
  'kill:cleared-environment': { behaviour: 'kill ends a descendant started with env -i.', source: 'issue 6' },
  'kill:ignored-term': { behaviour: 'kill ends a process that ignores TERM, HUP and INT.', source: 'issue 6' },
  'kill:fork-storm': { behaviour: 'kill ends a storm of processes that fork all the time.', source: 'issue 6' },
  'kill:only-its-own': { behaviour: 'kill leaves the other processes of the sandbox alone.', source: 'DESIGN execd' },
  'kill:exhausted-pids': {
    behaviour: 'A sandbox whose pids are used up can still be closed, and nothing is left.',
    source: 'issue 6',
    needs: ['pidsLimit'],
  },
  'kill:exhausted-pids-kill': {
    behaviour: 'The process that used up all pids can be killed, and then commands run again.',
    source: 'DESIGN execd',
    needs: ['pidsLimit', 'attach'],
    why: 'without a daemon a kill is an exec of the platform, which needs a process of its own',
  },
  'kill:idempotent': { behaviour: 'kill twice, or after the end, is no error.', source: 'Q26' },
  'kill:close': {
    behaviour: 'close ends every process of the sandbox, detached and background ones too.',
    source: 'A6',
  },
  'kill:level': { behaviour: 'info().killLevel says how sure a kill is.', source: 'DESIGN execd' },
} as const satisfies Requirements
