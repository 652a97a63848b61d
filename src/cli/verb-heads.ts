import type { CommandHead } from './command.ts'

/** Every verb as the list of verbs shows it, in the order of the help. Apart from the verbs, so that the help needs none of them. */
export const heads = {
  run: {
    name: 'run',
    group: 'Run',
    summary: 'run one command in a fresh sandbox, which is gone afterwards',
    usage: '-- CMD [ARG…]',
  },
  open: { name: 'open', group: 'Run', summary: 'open a sandbox, leave it running and print its name', usage: '' },
  exec: {
    name: 'exec',
    group: 'Run',
    summary: 'run a command in a sandbox that runs already',
    usage: 'SANDBOX -- CMD [ARG…]',
  },
  shell: { name: 'shell', group: 'Run', summary: 'open an interactive shell in a sandbox', usage: 'SANDBOX' },
  cp: {
    name: 'cp',
    group: 'Run',
    summary: 'copy files and directories into or out of a sandbox',
    usage: 'SOURCE TARGET',
  },
  port: {
    name: 'port',
    group: 'Run',
    summary: 'make a port of a sandbox reachable at 127.0.0.1 here',
    usage: 'SANDBOX LOCAL:REMOTE',
  },
  ps: { name: 'ps', group: 'Watch', summary: 'list sandboxes, or the processes of one', usage: '[SANDBOX]' },
  logs: {
    name: 'logs',
    group: 'Watch',
    summary: 'print the output of a process, also after it has ended',
    usage: 'SANDBOX PROCESS',
  },
  attach: {
    name: 'attach',
    group: 'Watch',
    summary: 'follow a process to its end and give its exit code',
    usage: 'SANDBOX PROCESS',
  },
  stats: { name: 'stats', group: 'Watch', summary: 'show what a sandbox uses now', usage: 'SANDBOX' },
  kill: {
    name: 'kill',
    group: 'Manage',
    summary: 'kill a process and everything it started',
    usage: 'SANDBOX PROCESS',
  },
  extend: { name: 'extend', group: 'Manage', summary: 'let a sandbox live longer', usage: 'SANDBOX DURATION' },
  rm: {
    name: 'rm',
    group: 'Manage',
    summary: 'end sandboxes and remove all that is left of them',
    usage: 'SANDBOX…',
  },
  gc: {
    name: 'gc',
    group: 'Manage',
    summary: 'remove sandboxes that ended or that nobody owns any more',
    usage: '',
  },
  doctor: {
    name: 'doctor',
    group: 'Setup',
    summary: 'tell what works here, what does not, and the next step',
    usage: '',
  },
  probe: {
    name: 'probe',
    group: 'Setup',
    summary: 'tell what the machine behind a node is: system, GPUs, Python, disk',
    usage: '',
  },
  completion: { name: 'completion', group: 'Setup', summary: 'print a completion script for a shell', usage: 'SHELL' },
} as const satisfies Readonly<Record<string, CommandHead>>
