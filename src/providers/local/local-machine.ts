import { randomBytes } from 'node:crypto'
import { chmod, mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { dirname } from 'node:path'
import process from 'node:process'
import type { Duplex } from 'node:stream'
import { childChannel } from '../../kit/child-channel.ts'
import { throwIfAborted, abortError } from '../../kit/deadline.ts'
import { AnyplaceError } from '../../spec/index.ts'
import type { CallOptions, Machine } from '../../spec/index.ts'
import { localFacts } from './local-facts.ts'

/** This computer, as engines see it. Holds nothing open. */
export function localMachine(): Machine {
  return {
    label: 'this machine',
    isLocal: true,
    facts: async (options) => {
      throwIfAborted(options?.signal)
      return localFacts()
    },
    run: (argv, options) => childChannel(argv, options ?? {}),
    connect: connectSocket,
    connectDirectly: connectSocket,
    readFile: async (path, options) => {
      throwIfAborted(options?.signal)
      return readFile(path).catch((error: unknown) => {
        if (hasCode(error, 'ENOENT', 'ENOTDIR')) return undefined
        throw fileError('read', path, error)
      })
    },
    writeFile,
    listDirectory: async (path, options) => {
      throwIfAborted(options?.signal)
      return readdir(path).catch((error: unknown) => {
        if (hasCode(error, 'ENOENT')) return []
        throw fileError('list', path, error)
      })
    },
    makeDirectory: async (path, options) => {
      throwIfAborted(options?.signal)
      const mode = options?.mode ?? 0o700
      await mkdir(path, { recursive: true, mode }).catch((error: unknown) => {
        throw fileError('make directory', path, error)
      })
      // The umask took its share of the mode; a directory that was there already keeps its own unless one was asked for.
      if (options?.mode !== undefined) await chmod(path, mode)
    },
    remove,
  }
}

async function connectSocket(path: string, options: CallOptions = {}): Promise<Duplex> {
  const { signal } = options
  throwIfAborted(signal)
  return new Promise((resolve, reject) => {
    const socket = connect({ path, allowHalfOpen: true })
    const fail = (error: unknown): void => {
      socket.destroy()
      signal?.removeEventListener('abort', cancel)
      reject(error)
    }
    const cancel = (): void => fail(signal ? abortError(signal) : undefined)
    signal?.addEventListener('abort', cancel, { once: true })
    socket.once('error', (error) =>
      fail(
        new AnyplaceError('engine-unavailable', `Cannot connect to ${path}: ${socketReason(error)}`, { cause: error }),
      ),
    )
    socket.once('connect', () => {
      signal?.removeEventListener('abort', cancel)
      socket.removeAllListeners('error')
      resolve(socket)
    })
  })
}

function socketReason(error: unknown): string {
  if (hasCode(error, 'ENOENT')) return 'there is no such socket'
  if (hasCode(error, 'ECONNREFUSED')) return 'nothing listens on it'
  if (hasCode(error, 'EACCES', 'EPERM')) return 'permission denied'
  return error instanceof Error ? error.message : String(error)
}

async function writeFile(
  path: string,
  bytes: Uint8Array,
  options: CallOptions & { readonly mode?: number } = {},
): Promise<void> {
  throwIfAborted(options.signal)
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    const file = await open(temporary, 'wx', options.mode ?? 0o600)
    try {
      await file.writeFile(bytes)
      await file.chmod(options.mode ?? 0o600)
    } finally {
      await file.close()
    }
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined)
    throw fileError('write', path, error)
  }
}

async function remove(path: string, options: CallOptions = {}): Promise<void> {
  throwIfAborted(options.signal)
  try {
    await rm(path, { recursive: true, force: true })
  } catch {
    // Directories without their owner's write bit, or paths longer than the kernel takes: the system's tools walk both.
    await exitOf(['chmod', '-R', 'u+rwX', '--', path], options)
    const removed = await exitOf(['rm', '-rf', '--', path], options)
    if (removed.code !== 0)
      throw new AnyplaceError('permission-denied', `Cannot remove ${path}: ${removed.stderr.trim().slice(0, 300)}`)
  }
}

async function exitOf(argv: readonly string[], options: CallOptions): Promise<{ code: number | null; stderr: string }> {
  const channel = await childChannel(argv, { env: { PATH: process.env['PATH'] ?? '/usr/bin:/bin' }, ...options })
  try {
    channel.stdin.end()
    channel.stdout.resume()
    let stderr = ''
    for await (const chunk of channel.stderr) stderr = (stderr + String(chunk)).slice(-2000)
    return { code: (await channel.exit).exitCode, stderr }
  } finally {
    await channel.close()
  }
}

function hasCode(error: unknown, ...codes: readonly string[]): boolean {
  return error instanceof Error && codes.includes((error as NodeJS.ErrnoException).code ?? '')
}

function fileError(verb: string, path: string, error: unknown): AnyplaceError {
  const reason = error instanceof Error ? error.message : String(error)
  const code = hasCode(error, 'EACCES', 'EPERM')
    ? 'permission-denied'
    : hasCode(error, 'ENOSPC', 'EDQUOT')
      ? 'no-space'
      : hasCode(error, 'ENOENT')
        ? 'file-not-found'
        : hasCode(error, 'ENOTDIR', 'EEXIST')
          ? 'not-a-directory'
          : hasCode(error, 'EISDIR')
            ? 'is-a-directory'
            : 'internal'
  return new AnyplaceError(code, `Cannot ${verb} ${path} on this machine: ${reason}`, { cause: error })
}
