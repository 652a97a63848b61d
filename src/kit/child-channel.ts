import { spawn } from 'node:child_process'
import type { ChildProcessWithoutNullStreams } from 'node:child_process'
import { existsSync, statSync } from 'node:fs'
import type { Stats } from 'node:fs'
import type { Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { AnyplaceError } from '../spec/index.ts'
import type { Channel, ChannelExit, MachineRunOptions } from '../spec/index.ts'
import { throwIfAborted } from './deadline.ts'
import { assertNoNul } from './text-bytes.ts'

/** The whole environment of a child that was given none. */
const DEFAULT_ENV: Readonly<Record<string, string>> = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
}
const TERM_GRACE_MS = 1000
const KILL_GRACE_MS = 5000

/** A process of this machine's, and whether this program waits for it. */
export interface ChildChannel extends Channel {
  readonly pid: number
  /** Keep this program running while the process runs, which is so from the start. */
  ref(): void
  /** Let this program end although the process runs. */
  unref(): void
}

/**
 * Starts a process on this machine and gives its three streams. Its environment is exactly `options.env`, or only a
 * standard PATH when that is missing; the program is looked up on that PATH.
 *
 * `close` ends the streams and the process; one started with `detached` (a session of its own) is left running.
 * `options.signal` cancels the start only.
 *
 * @throws AnyplaceError `command-not-found`, `command-not-executable`, `file-not-found` or `not-a-directory` (the cwd),
 * `resource-exhausted`, `invalid-argument`
 */
export async function childChannel(argv: readonly string[], options: MachineRunOptions = {}): Promise<ChildChannel> {
  const { cwd, detached = false, env = DEFAULT_ENV, signal } = options
  const [program, ...parameters] = argv
  if (program === undefined || program === '') {
    throw new AnyplaceError('invalid-argument', 'argv must name a program.', { field: 'argv' })
  }
  for (const [index, word] of argv.entries()) assertPassable(word, `argv[${index}]`)
  for (const [name, value] of Object.entries(env)) {
    assertPassable(name, 'env')
    assertPassable(value, `env.${name}`)
  }
  if (cwd !== undefined) assertPassable(cwd, 'cwd')
  throwIfAborted(signal)

  let child: ChildProcessWithoutNullStreams
  try {
    // Always a session of its own: Ctrl-C at a terminal goes to every process of ours there, and would cut the very
    // channels over which commands are then ended properly.
    child = spawn(program, parameters, { cwd, env: { ...env }, detached: true, stdio: ['pipe', 'pipe', 'pipe'] })
  } catch (error) {
    throw startError(error, program, cwd)
  }
  // A stream that breaks tells its reader or writer; without these, one that nobody uses would end this program.
  for (const stream of [child.stdin, child.stdout, child.stderr]) stream.on('error', () => {})
  const exit = new Promise<ChannelExit>((resolve) => {
    child.once('exit', (exitCode, exitSignal) => {
      resolve({ exitCode, signal: exitSignal })
    })
  })
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve)
    child.on('error', (error) => {
      reject(startError(error, program, cwd))
    })
  })
  return channelOf(child, exit, detached)
}

function channelOf(child: ChildProcessWithoutNullStreams, exit: Promise<ChannelExit>, detached: boolean): ChildChannel {
  let closing: Promise<void> | undefined
  const close = async (): Promise<void> => {
    child.stdin.destroy()
    child.stdout.destroy()
    child.stderr.destroy()
    if (detached) {
      child.unref()
      return
    }
    for (const [name, graceMs] of [
      ['SIGTERM', TERM_GRACE_MS],
      ['SIGKILL', KILL_GRACE_MS],
    ] as const) {
      if (child.exitCode !== null || child.signalCode !== null) return
      child.kill(name)
      const timer = new AbortController()
      await Promise.race([exit, delay(graceMs, undefined, { signal: timer.signal }).catch(() => {})])
      timer.abort()
    }
  }
  const each = (name: 'ref' | 'unref'): void => {
    child[name]()
    for (const stream of [child.stdin, child.stdout, child.stderr]) (stream as Socket)[name]()
  }
  return {
    pid: child.pid ?? 0,
    ref: () => each('ref'),
    unref: () => each('unref'),
    stdin: child.stdin,
    stdout: child.stdout,
    stderr: child.stderr,
    exit,
    close: () => (closing ??= close()),
    [Symbol.asyncDispose]: () => (closing ??= close()),
  }
}

/** The platform writes strings as UTF-8 only, so a byte that is not UTF-8 would arrive as something else. */
function assertPassable(value: string, field: string): void {
  assertNoNul(value, field)
  if (/\p{Surrogate}/u.test(value)) {
    throw new AnyplaceError('invalid-argument', `${field} holds bytes that are not UTF-8.`, {
      field,
      hint: 'a process on this machine can be given UTF-8 only; inside a sandbox any bytes work',
    })
  }
}

function startError(error: unknown, program: string, cwd: string | undefined): AnyplaceError {
  const cause = error as NodeJS.ErrnoException
  const name = JSON.stringify(program)
  if (cwd !== undefined) {
    const folder = tryStat(cwd)
    const where = JSON.stringify(cwd)
    if (folder === undefined) {
      return new AnyplaceError('file-not-found', `Cannot start ${name}: no directory ${where}.`, {
        cause,
        field: 'cwd',
      })
    }
    if (folder !== 'unreadable' && !folder.isDirectory()) {
      return new AnyplaceError('not-a-directory', `Cannot start ${name}: ${where} is not a directory.`, {
        cause,
        field: 'cwd',
      })
    }
  }
  switch (cause.code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return program.includes('/') && existsSync(program)
        ? new AnyplaceError('command-not-found', `Cannot start ${name}: the interpreter that it names is missing.`, {
            cause,
          })
        : new AnyplaceError('command-not-found', `No program ${name} on this machine.`, { cause })
    case 'EACCES':
    case 'EPERM':
    case 'ENOEXEC':
    case 'EISDIR':
      return new AnyplaceError('command-not-executable', `Cannot start ${name}: it is not an executable program.`, {
        cause,
      })
    case 'E2BIG':
      return new AnyplaceError(
        'invalid-argument',
        `Cannot start ${name}: its arguments and environment are too long.`,
        {
          cause,
          field: 'argv',
        },
      )
    case 'EAGAIN':
    case 'ENOMEM':
    case 'EMFILE':
    case 'ENFILE':
      return new AnyplaceError('resource-exhausted', `Cannot start ${name}: the system has no room (${cause.code}).`, {
        cause,
      })
    default:
      return new AnyplaceError('internal', `Cannot start ${name}: ${cause.message}.`, { cause })
  }
}

function tryStat(path: string): Stats | 'unreadable' | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false })
  } catch {
    return 'unreadable'
  }
}
