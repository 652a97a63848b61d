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
  sync: {
    name: 'sync',
    group: 'Run',
    summary: 'make a directory elsewhere like one here, or the other way round',
    usage: 'up|down LOCAL NAME:PATH',
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
  'nodes add': {
    name: 'nodes add',
    group: 'Setup',
    summary: 'add a node, so that --on can name it',
    usage: 'NAME',
  },
  'nodes list': { name: 'nodes list', group: 'Setup', summary: 'list the nodes; a star is on the default', usage: '' },
  'nodes show': { name: 'nodes show', group: 'Setup', summary: 'show all that is known of a node', usage: 'NODE' },
  'nodes test': {
    name: 'nodes test',
    group: 'Setup',
    summary: 'connect to a node and tell each step',
    usage: 'NODE',
  },
  'nodes default': {
    name: 'nodes default',
    group: 'Setup',
    summary: 'choose where work runs when nothing else is said',
    usage: 'NODE',
  },
  'nodes rm': { name: 'nodes rm', group: 'Setup', summary: 'forget nodes; what runs there goes on', usage: 'NODE…' },
  'keys generate': {
    name: 'keys generate',
    group: 'Setup',
    summary: 'make a new SSH key and print its public half',
    usage: 'NAME',
  },
  'keys add': {
    name: 'keys add',
    group: 'Setup',
    summary: 'take an existing private key into the vault',
    usage: 'NAME FILE',
  },
  'keys list': { name: 'keys list', group: 'Setup', summary: 'list the keys', usage: '' },
  'keys show': { name: 'keys show', group: 'Setup', summary: 'print the public half of a key', usage: 'KEY' },
  'keys rm': {
    name: 'keys rm',
    group: 'Setup',
    summary: 'remove keys for good; one that a node uses stays',
    usage: 'KEY…',
  },
  'keys copy-id': {
    name: 'keys copy-id',
    group: 'Setup',
    summary: 'install the public half of a key on a host',
    usage: 'KEY HOST',
  },
  'hosts trust': {
    name: 'hosts trust',
    group: 'Setup',
    summary: "show a host's key fingerprints and pin them",
    usage: 'HOST',
  },
  'hosts list': { name: 'hosts list', group: 'Setup', summary: 'list the pinned host keys', usage: '' },
  'hosts rm': { name: 'hosts rm', group: 'Setup', summary: 'forget the pinned keys of hosts', usage: 'HOST…' },
  'pools up': {
    name: 'pools up',
    group: 'Manage',
    summary: 'start a pool of slots and leave it running',
    usage: '[PROFILE]',
  },
  'pools status': {
    name: 'pools status',
    group: 'Manage',
    summary: 'show pools, their sandboxes and who has their slots',
    usage: '[PROFILE]',
  },
  'pools exec': {
    name: 'pools exec',
    group: 'Manage',
    summary: 'run a command in a slot of a pool',
    usage: '[PROFILE] -- CMD [ARG…]',
  },
  'pools down': {
    name: 'pools down',
    group: 'Manage',
    summary: 'end a pool and all that is in it',
    usage: '[PROFILE]',
  },
  'pools config': {
    name: 'pools config',
    group: 'Manage',
    summary: 'show the profiles, and where each value comes from',
    usage: '[PROFILE]',
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

/** Words that stand in front of verbs of their own: `anyplace keys list`. */
export const verbGroups = {
  nodes: { name: 'nodes', group: 'Setup', summary: 'add, list, test and remove nodes', usage: usageOf('nodes') },
  keys: { name: 'keys', group: 'Setup', summary: 'make, add, install and remove SSH keys', usage: usageOf('keys') },
  pools: {
    name: 'pools',
    group: 'Manage',
    summary: 'run pools of slots for many trajectories',
    usage: usageOf('pools'),
  },
  hosts: { name: 'hosts', group: 'Setup', summary: 'trust hosts: pin their SSH keys', usage: usageOf('hosts') },
} as const satisfies Readonly<Record<string, CommandHead>>

/** The verbs of a group, in the order of its help. */
export function headsOf(group: string): readonly CommandHead[] {
  return Object.values<CommandHead>(heads).filter(({ name }) => name.startsWith(`${group} `))
}

/** What `anyplace --help` lists: verbs that stand alone, and groups where the first of their verbs stands. */
export function topHeads(): readonly CommandHead[] {
  const found = new Map<string, CommandHead>()
  for (const head of Object.values<CommandHead>(heads)) {
    const [first = ''] = head.name.split(' ')
    if (!found.has(first)) found.set(first, groupNamed(first) ?? head)
  }
  return [...found.values()]
}

/** Undefined when no group has that name. */
export function groupNamed(name: string | undefined): CommandHead | undefined {
  return name !== undefined && Object.hasOwn(verbGroups, name) ? verbGroups[name as keyof typeof verbGroups] : undefined
}

function usageOf(group: string): string {
  return headsOf(group)
    .map(({ name }) => name.slice(group.length + 1))
    .join('|')
}
