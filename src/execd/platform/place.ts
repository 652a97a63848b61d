import { randomBytes } from 'node:crypto'
import { AnyplaceError } from '../../spec/index.ts'
import type { CallOptions, Channel, Host } from '../../spec/index.ts'
import { collectBytes } from '../../kit/collect.ts'
import { abortError, throwIfAborted, untilAborted } from '../../kit/deadline.ts'
import { bytesToText, utf8Lossy } from '../../kit/text-bytes.ts'
import { OutputPump } from './output-pump.ts'
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
made=1
if [ -n "$1" ]; then mkdir -p "$1" 2>/dev/null || made=0; fi
nap=1
if sleep 0.01 2>/dev/null; then nap=0.02; fi
said=$(exec 2>&1; (exec /bin/sh -c 'kill -9 $$') >/dev/null; :)
tells=0
[ -z "$said" ] || tells=1
own=$(id -u) group=$(id -g) home= login=
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
printf '\\001'
printf '%s\\000' anyplace-probe "$nap" "$tells" "$home" "$login" "$made" "$own:$group"
cat "/proc/$$/environ"
printf '\\002'
`

const MAKE_WORKDIR = `
${DECODE_PARAMETERS}
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mkdir -p "$1" && chown "$2" "$1"
`

/** The place behind a host's own exec: opens channels and runs small scripts in it. */
export class Place {
  readonly workdir: string
  readonly #host: PlatformHost
  readonly #user: string | undefined
  readonly #channels = new Set<Channel>()
  readonly #surroundings = new Map<string, Promise<Surroundings>>()
  #isClosed = false

  /** @param user who commands run as when they do not say; the workdir is theirs */
  constructor(host: PlatformHost, workdir: string, user: string | undefined) {
    this.#host = host
    this.#user = user
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

  /**
   * Runs a short script of our own to its end. Small outputs only. The script's own marks tell the end: Docker tells it
   * seconds late while a background child of some other command holds that one's output open.
   */
  async ask(
    script: string,
    words: readonly string[],
    options: CallOptions & { readonly user?: string | undefined } = {},
  ): Promise<{ readonly exitCode: number; readonly stdout: Uint8Array; readonly stderr: string }> {
    const nonce = randomBytes(12).toString('hex')
    const channel = await this.open(marked(script, nonce), words, options)
    try {
      channel.stdin.end()
      let exitCode: number | undefined
      const onMark = ([, code]: readonly string[]): void => {
        exitCode = Number(code)
      }
      const stdout = new OutputPump(channel.stdout, { nonce, startsAt: 'once', onMark })
      const stderr = new OutputPump(channel.stderr, { nonce, startsAt: 'once', onMark })
      for (const pump of [stdout, stderr]) pump.ended.then((isComplete) => isComplete || pump.finish()).catch(() => {})
      const limit = { maxBytes: MAX_SCRIPT_OUTPUT_BYTES }
      const reading = Promise.all([collectBytes(stdout.stream, limit), collectBytes(stderr.stream, limit)])
      const [out, said] = await untilAborted(reading, options.signal)
      exitCode ??= (await untilAborted(channel.exit, options.signal)).exitCode ?? 137
      return { exitCode, stdout: out, stderr: utf8Lossy(said).trim() }
    } finally {
      await this.release(channel)
    }
  }

  /** Learned once for each user; the first call for the sandbox's own user makes the workdir too. */
  surroundings(user: string | undefined, signal?: AbortSignal): Promise<Surroundings> {
    const key = user ?? ''
    let known = this.#surroundings.get(key)
    if (known === undefined) {
      known = this.#probe(user)
      this.#surroundings.set(key, known)
      known.catch(() => this.#surroundings.delete(key))
    }
    return untilAborted(known, signal)
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await Promise.all([...this.#channels].map((channel) => this.release(channel)))
  }

  async #probe(user: string | undefined): Promise<Surroundings> {
    const directory = user === this.#user ? this.workdir : ''
    const { exitCode, stdout, stderr } = await this.ask(PROBE, [directory], { user })
    const fields = bytesToText(stdout).split('\0')
    const begin = fields.findIndex((field) => field.endsWith('\u0001anyplace-probe'))
    if (exitCode !== 0 || begin < 0 || fields.pop() !== '\u0002') throw probeError(exitCode, stderr, user)
    const [shortSleep = '1', tells, home = '/', login = '', made, owner = '0:0', ...environ] = fields.slice(begin + 1)
    if (made !== '1') await this.#makeWorkdir(owner)
    const env = new Map<string, string>()
    for (const entry of environ) {
      const equals = entry.indexOf('=')
      if (equals > 0) env.set(entry.slice(0, equals), entry.slice(equals + 1))
    }
    return { env, home, login, shortSleep, tellsSignals: tells === '1' }
  }

  /** The user may not make it, so root does and gives it away. */
  async #makeWorkdir(owner: string): Promise<void> {
    const { exitCode, stderr } = await this.ask(MAKE_WORKDIR, [this.workdir, owner], { user: '0' })
    if (exitCode === 0) return
    throw new AnyplaceError(
      'permission-denied',
      `Cannot make the workdir ${JSON.stringify(this.workdir)}: ${stderr.slice(0, 500) || `exit code ${exitCode}`}.`,
      { field: 'workdir', hint: 'choose a workdir that the user of the sandbox may write' },
    )
  }
}

function marked(script: string, nonce: string): string {
  const end = `printf '\\001anyplace ${nonce} end %s\\002' "$code"`
  return `(\n${script}\n)\ncode=$?\n${end} >&2\n${end}\nexit "$code"`
}

function probeError(exitCode: number, stderr: string, user: string | undefined): AnyplaceError {
  const said = stderr === '' ? '' : `: ${stderr.slice(0, 500)}`
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
