import { AnyplaceError } from '../../spec/index.ts'
import type { CallOptions, Channel, Host } from '../../spec/index.ts'
import { collectBytes } from '../../kit/collect.ts'
import { abortError, throwIfAborted, untilAborted } from '../../kit/deadline.ts'
import { bytesToText, utf8Lossy } from '../../kit/text-bytes.ts'
import { DECODE_PARAMETERS, encodeParameters } from './parameters.ts'

/** What the slow path needs of a host. */
export type PlatformHost = Required<Pick<Host, 'channel'>> & Pick<Host, 'info'>

/** What one user of the place has there. */
export interface Surroundings {
  /** The environment that the platform gives to every process. */
  readonly env: ReadonlyMap<string, string>
  /** From /etc/passwd, or a private directory when the user has none there. */
  readonly home: string
  /** Empty for a number without a name. */
  readonly login: string
  /** Seconds that `sleep` takes for a short pause: some take whole ones only. */
  readonly shortSleep: string
  /** The shell tells death by a signal from an exit code above 128. */
  readonly tellsSignals: boolean
}

const MAX_SCRIPT_OUTPUT_BYTES = 4 * 1024 * 1024

const PROBE = `
${DECODE_PARAMETERS}
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
[ -r /proc/$$/environ ] || { echo 'there is no /proc in the place' >&2; exit 3; }
if [ -n "$1" ]; then mkdir -p "$1" || exit 4; fi
nap=1
if sleep 0.01 2>/dev/null; then nap=0.02; fi
said=$(exec 2>&1; (exec /bin/sh -c 'kill -9 $$') >/dev/null; :)
tells=0
[ -z "$said" ] || tells=1
own=$(id -u) home= login=
if [ -r /etc/passwd ]; then
  while IFS=: read -r name word uid gid text directory shell; do
    if [ "$uid" = "$own" ] && [ -z "$login" ]; then home=$directory login=$name; fi
  done </etc/passwd
fi
# The same choice as the daemon's: many programs fail without a writable home.
if [ ! -d "$home" ] || [ "$home" = / ]; then
  if [ "$own" = 0 ]; then
    home=/
    [ ! -d /root ] || home=/root
  else
    home=/tmp/.home-$own
    mkdir -m 700 "$home" 2>/dev/null || { [ -d "$home" ] && [ ! -L "$home" ] && [ -O "$home" ]; } || home=/tmp
  fi
fi
printf '\\001anyplace-probe\\n%s\\n%s\\n%s\\n%s\\n' "$nap" "$tells" "$home" "$login"
cat "/proc/$$/environ"
printf '\\000\\002'
`

/** The place behind a host's own exec: opens channels and runs small scripts in it. */
export class Place {
  readonly workdir: string
  readonly #host: PlatformHost
  readonly #channels = new Set<Channel>()
  readonly #surroundings = new Map<string, Promise<Surroundings>>()
  #isClosed = false

  constructor(host: PlatformHost, workdir: string) {
    this.#host = host
    this.workdir = workdir
  }

  /** A script with parameters as a raw process. The caller closes the channel with {@link Place.release}. */
  async open(
    script: string,
    words: readonly string[],
    options: CallOptions & { readonly user?: string | undefined } = {},
  ): Promise<Channel> {
    throwIfAborted(options.signal)
    if (this.#isClosed) throw new AnyplaceError('cancelled', 'The session is closed.')
    const argv = ['/bin/sh', '-c', script, 'anyplace', ...encodeParameters(words)]
    const opening = this.#host.channel(argv, {
      signal: options.signal,
      ...(options.user === undefined ? {} : { user: options.user }),
    })
    const channel = await opening
    this.#channels.add(channel)
    channel.exit.catch(() => {})
    channel.stdin.on('error', () => {})
    if (this.#isClosed || options.signal?.aborted) {
      await this.release(channel)
      throw options.signal?.aborted
        ? abortError(options.signal)
        : new AnyplaceError('cancelled', 'The session is closed.')
    }
    return channel
  }

  async release(channel: Channel): Promise<void> {
    this.#channels.delete(channel)
    await channel.close().catch(() => {})
  }

  /** Runs a short script of our own to its end. Small outputs only. */
  async ask(
    script: string,
    words: readonly string[],
    options: CallOptions & { readonly user?: string | undefined } = {},
  ): Promise<{ readonly exitCode: number; readonly stdout: Uint8Array; readonly stderr: string }> {
    const channel = await this.open(script, words, options)
    try {
      channel.stdin.end()
      const limit = { maxBytes: MAX_SCRIPT_OUTPUT_BYTES }
      const reading = Promise.all([
        collectBytes(channel.stdout, limit),
        collectBytes(channel.stderr, limit),
        channel.exit,
      ])
      const [stdout, stderr, exit] = await untilAborted(reading, options.signal)
      return { exitCode: exit.exitCode ?? 137, stdout, stderr: utf8Lossy(stderr).trim() }
    } finally {
      await this.release(channel)
    }
  }

  /** Learned once for each user; the first call for the sandbox's own user makes the workdir too. */
  surroundings(user: string | undefined, signal?: AbortSignal): Promise<Surroundings> {
    const key = user ?? ''
    let known = this.#surroundings.get(key)
    if (known === undefined) {
      known = this.#probe(user, user === undefined ? this.workdir : '')
      this.#surroundings.set(key, known)
      known.catch(() => this.#surroundings.delete(key))
    }
    return untilAborted(known, signal)
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await Promise.all([...this.#channels].map((channel) => this.release(channel)))
  }

  async #probe(user: string | undefined, directory: string): Promise<Surroundings> {
    const { exitCode, stdout, stderr } = await this.ask(PROBE, [directory], { user })
    const text = bytesToText(stdout)
    const from = text.indexOf('\u0001anyplace-probe\n')
    if (exitCode !== 0 || from < 0 || !text.endsWith('\0\u0002')) throw probeError(exitCode, stderr, user, directory)
    const [, shortSleep = '1', tells = '0', home = '/', login = ''] = text.slice(from).split('\n', 5)
    const start = from + ['\u0001anyplace-probe', shortSleep, tells, home, login].join('\n').length + 1
    const env = new Map<string, string>()
    for (const entry of text.slice(start, -1).split('\0')) {
      const equals = entry.indexOf('=')
      if (equals > 0) env.set(entry.slice(0, equals), entry.slice(equals + 1))
    }
    return { env, home, login, shortSleep, tellsSignals: tells === '1' }
  }
}

function probeError(exitCode: number, stderr: string, user: string | undefined, directory: string): AnyplaceError {
  const said = stderr === '' ? '' : `: ${stderr.slice(0, 500)}`
  if (exitCode === 4) {
    return new AnyplaceError('permission-denied', `Cannot make the workdir ${JSON.stringify(directory)}${said}.`, {
      field: 'workdir',
      hint: 'choose a workdir that the user of the sandbox may write',
    })
  }
  if (user !== undefined) {
    return new AnyplaceError(
      'invalid-argument',
      `Cannot run as user ${JSON.stringify(user)} (exit code ${exitCode})${said}.`,
      {
        field: 'user',
      },
    )
  }
  return new AnyplaceError(
    'unsupported',
    `The place cannot run commands: its /bin/sh ended with exit code ${exitCode}${said}.`,
    { hint: 'use an image with Python 3.9 or newer, or one with a POSIX /bin/sh, sleep, env and a mounted /proc' },
  )
}
