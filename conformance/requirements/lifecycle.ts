import type { Requirements } from '../requirement.ts'

/** Names, owners, lifetimes: no leaks. */
export const lifecycleRequirements = {
  'lifecycle:info': {
    behaviour: 'info() tells id, name, engine, isolation, workdir, path, kill level and expiry.',
    source: 'A1',
  },
  'lifecycle:close-idempotent': {
    behaviour: 'close twice, or at once from two callers, is no error; nothing is left.',
    source: 'Q26',
  },
  'lifecycle:after-close': {
    behaviour: 'A call on a closed sandbox is a typed error at once.',
    source: 'issue: bad input',
  },
  'lifecycle:name-idempotent': {
    behaviour: 'Opening a name twice with the same spec gives the same sandbox.',
    source: 'Q25, A5',
  },
  'lifecycle:name-conflict': { behaviour: 'Opening a name with another spec is a conflict.', source: 'Q25, A5' },
  'lifecycle:name-race': { behaviour: 'Two openings of one name at once make one sandbox.', source: 'Q25' },
  'lifecycle:name-loose-fields': { behaviour: 'Lifetimes and labels are no part of a name’s spec.', source: 'A5' },
  'lifecycle:attach-by-name': {
    behaviour: 'A named sandbox can be attached to by name and by id; an unknown one is sandbox-not-found.',
    source: 'A5',
  },
  'lifecycle:expiry': {
    behaviour: 'At its timeout a sandbox ends, its processes too, and nothing is left.',
    source: 'A1, A6',
  },
  'lifecycle:expiry-without-client': { behaviour: 'The same when its client was killed with -9.', source: 'A6' },
  'lifecycle:extend': {
    behaviour: 'extend moves the end, and the sandbox lives past the old one.',
    source: 'A1',
    needs: ['extend'],
  },
  'lifecycle:extend-cap': {
    behaviour: 'extend never goes beyond maxLifetimeMs and never moves the end back.',
    source: 'A1',
    needs: ['extend'],
  },
  'lifecycle:extend-race': {
    behaviour: 'extend near the expiry either holds or is a typed error, never a lie.',
    source: 'Q30',
    needs: ['extend'],
  },
  'lifecycle:reconnect-keeps-deadline': {
    behaviour: 'Neither attach nor opening a name again shortens the end.',
    source: 'Q27',
  },
  'lifecycle:idle': { behaviour: 'An idle sandbox ends after idleTimeoutMs.', source: 'A1', needs: ['idleTimeout'] },
  'lifecycle:idle-refused': {
    behaviour: 'Where an idle sandbox would not end, idleTimeoutMs is refused by name and nothing is left.',
    source: 'A1',
    lacks: 'idleTimeout',
  },
  'lifecycle:idle-busy': {
    behaviour: 'A sandbox with a running process is not idle.',
    source: 'A1',
    needs: ['idleTimeout'],
  },
  'lifecycle:detached': {
    behaviour: 'A detached sandbox outlives its client; gc leaves it.',
    source: 'A6',
    needs: ['attach'],
  },
  'lifecycle:list': { behaviour: 'list gives every sandbox with its labels and none that was closed.', source: 'A6' },
  'lifecycle:gc-dead-owner': {
    behaviour: 'gc removes the sandboxes of a client that was killed with -9; a dry run removes none.',
    source: 'A6, Q29',
  },
  'lifecycle:gc-living-owner': {
    behaviour: 'gc leaves sandboxes whose client lives, and named and detached ones.',
    source: 'A6, Q29',
  },
  'lifecycle:removed-under-us': {
    behaviour: 'When the sandbox is removed under a waiting call, the call fails typed and soon.',
    source: 'Q31',
  },
  'lifecycle:cancelled-open': { behaviour: 'An open that is cancelled leaves nothing.', source: 'A6' },
  'lifecycle:many-at-once': {
    behaviour: 'Many sandboxes opened at once all work and leave nothing.',
    source: 'Q34',
    slow: true,
  },
  'lifecycle:remove': {
    behaviour: 'remove ends a sandbox by name; again, it is sandbox-not-found or no error.',
    source: 'A6',
  },
  'stats:reported': {
    behaviour: 'stats gives cpu, memory, disk and processes that follow what runs.',
    source: 'A7',
    needs: ['stats'],
  },
} as const satisfies Requirements
