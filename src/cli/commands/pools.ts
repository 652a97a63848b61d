import type { StandingPool } from '../../nodes/standing-pools.ts'
import type { ProfileInput } from '../../pools/profile.ts'
import { EXIT_FAILURE } from '../exit-codes.ts'
import { defineCommand, flag, list, value } from '../command.ts'
import { liveView } from '../live-view.ts'
import { formatDuration, parseDuration } from '../parse-duration.ts'
import { parseCount, parseSecret, parseText } from '../parse-values.ts'
import { poolTable } from '../pool-table.ts'
import { given, record } from '../sandbox-request.ts'
import { jsonOption, nodeOptions } from '../shared-options.ts'
import { table } from '../table.ts'
import { quoteArgv } from '../../kit/quote.ts'
import { bytesField } from '../json-bytes.ts'
import { writeAll } from '../cli-io.ts'
import { usageError } from '../usage-error.ts'
import { heads } from '../verb-heads.ts'

const profilesOption = value(
  'FILE',
  'YAML file with a map "profiles:" (default: $ANYPLACE_POOL_PROFILES_FILE)',
  parseText,
)
const secretOption = list(
  'NAME',
  'a secret that the profile names; the value is taken from our own environment',
  parseSecret,
)
const profileArgument = {
  placeholder: 'PROFILE',
  summary: 'name of a profile, as `anyplace pools config` shows it (default: default)',
  presence: 'optional',
} as const

function secretsOf(pairs: readonly (readonly [string, string])[]): {
  resolveSecret?: (name: string) => Promise<Readonly<Record<string, string>>>
} {
  if (pairs.length === 0) return {}
  const values = record('--secret', pairs)
  return {
    resolveSecret: async (name) => {
      const found = values[name]
      if (found === undefined) throw usageError(`The profile needs the secret ${name}.`, `give --secret ${name}`)
      return { [name]: found }
    },
  }
}

export const poolsUpCommand = defineCommand({
  ...heads['pools up'],
  details:
    'Opens the minimum of sandboxes, each with its slots, and leaves them running: they serve `anyplace pools exec` and ' +
    'programs of this machine that make a pool of the same profile. They end with `anyplace pools down` or with their ' +
    'lifetime. Repeated, it finds the same pool.',
  examples: [
    { command: 'anyplace pools up', summary: 'the default profile' },
    { command: 'anyplace pools up gpu --profiles pools.yaml', summary: 'a profile of a file' },
    { command: 'anyplace pools up --image python:3.12-slim --slots 20 --min 2', summary: 'with other values' },
  ],
  arguments: { profile: profileArgument },
  options: {
    profiles: profilesOption,
    ...nodeOptions,
    image: value('IMAGE', 'image of the sandboxes', parseText),
    slots: value('COUNT', 'slots in each sandbox', parseCount),
    min: value('COUNT', 'sandboxes that are kept', parseCount),
    max: value('COUNT', 'sandboxes at most', parseCount),
    secret: secretOption,
    ...jsonOption,
  },
  async run({ arguments: { profile }, options, io, reporter, api }) {
    const { poolUp } = await api()
    const changes: ProfileInput = {
      ...given('on', options.on),
      ...given('image', options.image),
      ...given('slotsPerSandbox', options.slots),
      ...given('minSandboxes', options.min),
      ...given('maxSandboxes', options.max),
    }
    reporter.progress(`opening the pool of profile ${profile ?? 'default'}`)
    const status = await poolUp({
      ...given('profile', profile),
      ...given('profilesFile', options.profiles),
      ...secretsOf(options.secret),
      changes,
      signal: io.signal,
    })
    const text = `${status.pool}: ${status.totalSlots} slots in ${status.sandboxes} sandbox${status.sandboxes === 1 ? '' : 'es'}\n`
    await reporter.result({ pool: status }, text)
  },
})

export const poolsStatusCommand = defineCommand({
  ...heads['pools status'],
  details:
    'Told from the state that all controllers share, so it also shows pools that other programs of this machine work with. ' +
    'With --watch it is drawn again each second until you press Ctrl-C; with --json too, one object a line.',
  examples: [
    { command: 'anyplace pools status', summary: 'all pools' },
    { command: 'anyplace pools status --watch', summary: 'as it changes' },
    { command: 'anyplace pools status --json', summary: 'with every lease, for programs' },
  ],
  arguments: { profile: { ...profileArgument, summary: 'only the pool of this profile' } },
  options: { watch: flag('draw it again each second', 'w'), ...jsonOption },
  async run({ arguments: { profile }, options, io, reporter, api }) {
    const { poolsStanding } = await api()
    const look = async (): Promise<readonly StandingPool[]> => {
      const pools = await poolsStanding()
      return profile === undefined ? pools : pools.filter((one) => one.profile === profile || one.pool === profile)
    }
    if (!options.watch) {
      const pools = await look()
      return reporter.result({ pools }, poolTable(pools))
    }
    if (!reporter.json) return liveView(io, async () => poolTable(await look()))
    while (!io.signal.aborted) {
      await reporter.event({ source: 'anyplace', pools: await look() })
      await pause(1000, io.signal)
    }
  },
})

export const poolsExecCommand = defineCommand({
  ...heads['pools exec'],
  details:
    'Takes a slot, runs the command in it as the slot’s own user, gives the slot back and passes the exit code through. The ' +
    'pool must be up. The slot is made clean before anybody else gets it.',
  examples: [
    { command: "anyplace pools exec -- python3 -c 'print(6 * 7)'", summary: 'in the default pool' },
    { command: 'anyplace pools exec gpu --timeout 5m -- nvidia-smi', summary: 'in another one, with a deadline' },
  ],
  takesCommand: true,
  arguments: { profile: profileArgument },
  options: {
    trajectory: value('ID', 'name of the trajectory, shown by `pools status` (default: made up)', parseText),
    timeout: value('DURATION', 'kill the command after this long (default: that of the profile)', parseDuration),
    wait: value('DURATION', 'how long to wait for a slot (default: that of the profile)', parseDuration),
    secret: secretOption,
    ...jsonOption,
  },
  async run({ arguments: { profile }, options, argv, io, reporter, api }) {
    const { withStandingPool } = await api()
    reporter.progress('waiting for a slot')
    return withStandingPool({ ...given('profile', profile), ...secretsOf(options.secret) }, async (pool) => {
      const lease = await pool.acquire(options.trajectory, { ...given('timeoutMs', options.wait), signal: io.signal })
      try {
        reporter.clearProgress()
        const command = `exec ${quoteArgv(argv)}`
        const result = await pool.execute(
          lease,
          'bash',
          { command },
          { ...given('timeoutMs', options.timeout), signal: io.signal },
        )
        if (result.result === undefined) throw result.failure ?? usageError(result.error)
        const { exitCode, signal, timedOut, oomKilled, durationMs, stdoutBytes, stderrBytes, truncated } = result.result
        if (reporter.json) {
          await reporter.event({
            source: 'command',
            exitCode,
            signal,
            timedOut,
            oomKilled,
            durationMs,
            ...bytesField('stdout', stdoutBytes),
            ...bytesField('stderr', stderrBytes),
            truncated,
            slotId: lease.slotId,
            trajectoryId: lease.trajectoryId,
          })
          return exitCode
        }
        await writeAll(io.stdout, stdoutBytes)
        await writeAll(io.stderr, stderrBytes)
        if (timedOut) reporter.note(`the command was killed after ${formatDuration(durationMs)}`)
        return exitCode
      } finally {
        await pool.release(lease)
      }
    })
  },
})

export const poolsDownCommand = defineCommand({
  ...heads['pools down'],
  details:
    'Removes its sandboxes, with the slots and leases in them. What a program that runs holds stays, and the exit code is ' +
    'then 125: end the program first.',
  examples: [{ command: 'anyplace pools down', summary: 'the default pool' }],
  arguments: { profile: profileArgument },
  options: { ...jsonOption },
  async run({ arguments: { profile }, io, reporter, api }) {
    const { poolDown } = await api()
    const { removed, taken } = await poolDown({ ...given('profile', profile), signal: io.signal })
    await reporter.result({ removed, taken }, removed.map((name) => `${name}\n`).join(''))
    for (const name of taken) reporter.note(`${name} is held by a program that runs; it stays`)
    return taken.length > 0 ? EXIT_FAILURE : 0
  },
})

export const poolsConfigCommand = defineCommand({
  ...heads['pools config'],
  details:
    'Each value with the place it comes from: a file, a variable or the default. A file or value that is wrong is an error ' +
    'that names it; nothing is skipped.',
  examples: [
    { command: 'anyplace pools config', summary: 'what the environment says' },
    { command: 'anyplace pools config --profiles pools.yaml --json', summary: 'of a file, for programs' },
  ],
  arguments: { profile: { ...profileArgument, summary: 'only this one (default: all)' } },
  options: { profiles: profilesOption, ...jsonOption },
  async run({ arguments: { profile }, options, io, reporter, api }) {
    const { poolProfiles } = await api()
    const chosen = await poolProfiles({
      ...given('profile', profile),
      ...given('profilesFile', options.profiles),
      env: io.env,
    })
    const rows = chosen.flatMap(({ profile: values, origins }) =>
      Object.entries(origins).map(([field, { source }]) => [
        values.name,
        field,
        shown(values[field as keyof typeof values]),
        source,
      ]),
    )
    const profiles = Object.fromEntries(
      chosen.map(({ profile: values, origins }) => [
        values.name,
        Object.fromEntries(
          Object.entries(origins).map(([field, { kind, source }]) => [
            field,
            { value: values[field as keyof typeof values] ?? null, origin: kind, source },
          ]),
        ),
      ]),
    )
    await reporter.result({ profiles }, table(['PROFILE', 'FIELD', 'VALUE', 'FROM'], rows))
  },
})

function shown(value: unknown): string {
  if (value === undefined) return '-'
  return typeof value === 'string' ? value : JSON.stringify(value)
}

async function pause(waitMs: number, signal: AbortSignal): Promise<void> {
  const { setTimeout: sleep } = await import('node:timers/promises')
  await sleep(waitMs, undefined, { signal }).catch(() => undefined)
}
