import { flag, list, value } from './command.ts'
import { parseDuration } from './parse-duration.ts'
import { parseSizeMiB } from './parse-size.ts'
import {
  parseCount,
  parseCpus,
  parseEnv,
  parseLabel,
  parseLocalDirectory,
  parseMount,
  parseNetwork,
  parseSecret,
  parseText,
} from './parse-values.ts'

/** Where the sandbox is. */
export const nodeOptions = {
  on: value(
    'NODE',
    'a node, with an engine behind a slash if you like: local, local/docker, gpu-box (default: $ANYPLACE_ON, else the default node)',
    parseText,
  ),
} as const

/** Of every verb. */
export const jsonOption = {
  json: flag('print JSON for programs, also for failures'),
} as const

/** What a new sandbox is like. */
export const specOptions = {
  image: value('IMAGE', 'image reference (default: python:3.12-slim where the engine uses images)', parseText),
  cpu: value('CPUS', 'CPUs it needs, such as 0.5', parseCpus),
  memory: value('SIZE', 'memory it needs, such as 512MiB', parseSizeMiB),
  cpuLimit: value('CPUS', 'hard cap on CPUs', parseCpus),
  memoryLimit: value('SIZE', 'hard cap on memory, such as 2GiB', parseSizeMiB),
  pidsLimit: value('COUNT', 'hard cap on processes and threads', parseCount),
  env: list('NAME=VALUE', 'environment variable of every command; NAME alone takes our own value', parseEnv, 'e'),
  secret: list('NAME', 'secret variable for commands; the value is taken from our own environment', parseSecret),
  workspace: value('DIR', 'local directory to mount writable at /workspace', parseLocalDirectory),
  mount: list('SOURCE:TARGET', 'local directory to mount, read-only unless :rw follows', parseMount),
  workdir: value('DIR', 'directory where commands start (default: /workspace)', parseText, 'w'),
  user: value('USER', 'uid, uid:gid, name or name:group that commands run as', parseText, 'u'),
  network: value('none', 'none: no network but loopback', parseNetwork),
  label: list('KEY=VALUE', 'label that is kept with it and shown by `ps --json`', parseLabel),
} as const

/** How one command in a sandbox runs. */
export const commandOptions = {
  interactive: flag('pass our stdin to the command (default: it reads end of file)', 'i'),
  tty: flag('run it on a terminal, with our stdin', 't'),
  timeout: value('DURATION', 'kill the command after this long, such as 30s; then the exit code is 124', parseDuration),
} as const

export const sandboxArgument = {
  placeholder: 'SANDBOX',
  summary: 'name or id, as `anyplace ps` shows it',
  presence: 'required',
} as const

export const processArgument = {
  placeholder: 'PROCESS',
  summary: 'id of a process, as `anyplace ps SANDBOX` shows it',
  presence: 'required',
} as const
