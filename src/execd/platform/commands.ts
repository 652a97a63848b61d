import { randomBytes } from 'node:crypto'
import { AnyplaceError } from '../../spec/index.ts'
import type { Argv, SpawnOptions } from '../../spec/index.ts'
import { abortError, throwIfAborted, untilAborted } from '../../kit/deadline.ts'
import { newId } from '../../kit/ids.ts'
import { assertNoNul, textToBytes } from '../../kit/text-bytes.ts'
import { COMMAND_SCRIPT } from './command-script.ts'
import { wordsAsInput } from './parameters.ts'
import type { Place, Surroundings } from './place.ts'
import { PlatformProcess } from './platform-process.ts'
import { MARKER_VARIABLE } from './tree-script.ts'

const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
/** Linux takes no longer word. */
const MAX_WORD_BYTES = 128 * 1024 - 1
const LONGEST_DEADLINE_SECONDS = 2_000_000_000

export interface CommandDefaults {
  /** The sandbox's environment. */
  readonly env: Readonly<Record<string, string>>
  /** Undefined: whoever the platform runs commands as. */
  readonly user: string | undefined
}

/**
 * Starts one command in the place and resolves once it runs.
 *
 * @throws AnyplaceError `invalid-argument` for words that no exec can carry, `file-not-found`, `permission-denied` or
 * `not-a-directory` for cwd, and whatever the platform's exec fails with
 */
export async function startCommand(
  place: Place,
  argv: Argv,
  options: SpawnOptions,
  defaults: CommandDefaults,
): Promise<PlatformProcess> {
  const { signal, stdin = 'none', timeoutMs } = options
  throwIfAborted(signal)
  checkWords(argv, options)
  const user = options.user ?? defaults.user
  const surroundings = await place.surroundings(user, signal)
  const env = commandEnvironment(surroundings, defaults.env, options.env ?? {}, user !== defaults.user)
  const id = newId()
  const nonce = randomBytes(12).toString('hex')
  const cwd = placePath(place.workdir, options.cwd ?? '.', 'cwd')
  const assignments = [[MARKER_VARIABLE, id] as const, ...env]
  const plain = assignments.filter(([name]) => isPlainName(name))
  const odd = assignments.filter(([name]) => !isPlainName(name))
  const deadline = timeoutMs === undefined ? '' : deadlineSeconds(timeoutMs, surroundings)
  const clear = [...surroundings.env.keys()].filter(isPlainName).join(' ')
  const path = env.get('PATH') ?? DEFAULT_PATH
  const words = [nonce, id, deadline, surroundings.shortSleep, stdin, cwd, argv[0] ?? '', path, clear]
  words.push(
    `${plain.length}`,
    `${odd.length}`,
    ...[...plain, ...odd].map(([name, value]) => `${name}=${value}`),
    ...argv,
  )
  const input = wordsAsInput(words)
  const channel = await place.open(COMMAND_SCRIPT, [], { user, signal })
  channel.stdin.write(input)
  const process = new PlatformProcess(place, channel, {
    id,
    nonce,
    argv,
    cwd,
    user,
    stdin,
    shortSleep: surroundings.shortSleep,
    tellsSignals: surroundings.tellsSignals,
  })
  try {
    await untilAborted(process.started, signal)
  } catch (error) {
    if (signal?.aborted) await process.kill().catch(() => {})
    await process.detach()
    throw signal?.aborted ? abortError(signal) : error
  }
  return process
}

/** A path of the place as it is, absolute. Not normalised: `a/..` behind a link means what the place says. */
export function placePath(workdir: string, path: string, field: string): string {
  assertNoNul(path, field)
  if (path === '') throw new AnyplaceError('invalid-argument', `${field} must not be empty.`, { field })
  return path.startsWith('/') ? path : path === '.' ? workdir : `${workdir}/${path}`
}

/** Shells give these a meaning or refuse to set them. */
const SPECIAL_NAMES =
  /^(PPID|UID|EUID|GROUPS|OPTIND|RANDOM|SRANDOM|SECONDS|LINENO|SHELLOPTS|DIRSTACK|FUNCNAME|HISTCMD|PWD|OLDPWD|SHLVL|_|EPOCH\w*|BASH\w*|COMP_\w*|_anyplace_\w*)$/

function isPlainName(name: string): boolean {
  return /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) && !SPECIAL_NAMES.test(name)
}

/** The same as the daemon's: what the platform gives, then the sandbox's, then the command's own; HOME is the user's. */
function commandEnvironment(
  { env, home, login }: Surroundings,
  sandbox: Readonly<Record<string, string>>,
  own: Readonly<Record<string, string>>,
  isOtherUser: boolean,
): Map<string, string> {
  const base = new Map<string, string>([...env, ...Object.entries(sandbox)])
  base.delete('HOSTNAME')
  base.set('HOME', (isOtherUser ? undefined : sandbox.HOME) ?? home)
  if (login !== '' && !base.has('USER')) base.set('USER', login).set('LOGNAME', login)
  const defaults: [string, string][] = [
    ['PATH', DEFAULT_PATH],
    ['LANG', 'C.UTF-8'],
    ['TERM', 'dumb'],
  ]
  const all = new Map<string, string>([...defaults, ...base, ...Object.entries(own)])
  all.delete(MARKER_VARIABLE)
  return all
}

function checkWords(argv: Argv, { env = {}, timeoutMs }: SpawnOptions): void {
  if (argv.length === 0) {
    throw new AnyplaceError('invalid-argument', 'argv must name a program (got an empty list).', { field: 'argv' })
  }
  if (argv[0] === '') throw new AnyplaceError('invalid-argument', 'argv[0], the program, is empty.', { field: 'argv' })
  for (const [index, word] of argv.entries()) checkWord(word, `argv[${index}]`)
  for (const [name, value] of Object.entries(env)) {
    if (name === '' || name.includes('=')) {
      throw new AnyplaceError('invalid-argument', `env holds the name ${JSON.stringify(name)}, which is none.`, {
        field: 'env',
      })
    }
    assertNoNul(name, 'env')
    checkWord(value, `env.${name}`)
  }
  if (timeoutMs !== undefined && !(timeoutMs > 0)) {
    throw new AnyplaceError('invalid-argument', `timeoutMs must be more than 0 (got ${timeoutMs}).`, {
      field: 'timeoutMs',
    })
  }
}

function checkWord(word: string, field: string): void {
  assertNoNul(word, field)
  const bytes = textToBytes(word).byteLength
  if (bytes <= MAX_WORD_BYTES) return
  throw new AnyplaceError('invalid-argument', `${field} has ${bytes} bytes; Linux takes ${MAX_WORD_BYTES} at most.`, {
    field,
    hint: 'write it to a file, or give it on stdin',
  })
}

function deadlineSeconds(timeoutMs: number, { shortSleep }: Surroundings): string {
  const seconds = Math.min(timeoutMs / 1000, LONGEST_DEADLINE_SECONDS)
  return shortSleep === '1' ? `${Math.max(1, Math.ceil(seconds))}` : seconds.toFixed(3)
}
