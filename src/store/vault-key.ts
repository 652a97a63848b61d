import { randomBytes, scrypt } from 'node:crypto'
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  linkSync,
  openSync,
  readFileSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { AnyplaceError } from '../spec/index.ts'
import { errnoOf, fileError } from '../kit/file-error.ts'
import { newId } from '../kit/ids.ts'
import { assertPrivate } from './state-directory.ts'

const KEY_BYTES = 32

/** How a key is made from a passphrase; stored beside what it opens. */
export interface ScryptParameters {
  readonly salt: string
  readonly cost: number
  readonly blockSize: number
  readonly parallelization: number
}

/** For a new vault: 128 MiB and some 0.4 s per guess. */
export function newScryptParameters(): ScryptParameters {
  return { salt: randomBytes(16).toString('base64'), cost: 2 ** 17, blockSize: 8, parallelization: 1 }
}

/** @throws AnyplaceError `protocol-error` for parameters that would eat the machine */
export async function keyFromPassphrase(passphrase: string, parameters: ScryptParameters): Promise<Buffer> {
  const { salt, cost, blockSize, parallelization } = parameters
  const memory = 128 * cost * blockSize
  if (!(memory <= 2 ** 30) || !(parallelization >= 1 && parallelization <= 16)) {
    throw new AnyplaceError('protocol-error', 'The vault asks for more than 1 GiB to make its key.')
  }
  const options = { cost, blockSize, parallelization, maxmem: memory + 2 ** 20 }
  return new Promise((resolve, reject) => {
    // The same passphrase typed on another keyboard may come as other code points.
    scrypt(passphrase.normalize('NFC'), Buffer.from(salt, 'base64'), KEY_BYTES, options, (error, key) => {
      if (error) reject(error)
      else resolve(key)
    })
  })
}

/** @param where for the message; the text itself is never shown */
export function keyFromBase64(text: string, where: string): Buffer {
  const trimmed = text.trim()
  const key = Buffer.from(trimmed, 'base64')
  if (key.length !== KEY_BYTES || key.toString('base64') !== trimmed) {
    throw new AnyplaceError('invalid-argument', `${where} must be the base64 text of ${KEY_BYTES} bytes.`, {
      hint: 'head -c 32 /dev/urandom | base64',
    })
  }
  return key
}

/**
 * The key in a file that nobody else can read.
 *
 * @param options.make write a new key when there is no file; else that gives undefined
 * @throws AnyplaceError `permission-denied` when the file is open to others, is somebody else's, or is a link
 */
export function keyFromFile(path: string, options: { readonly make: boolean }): Buffer | undefined {
  try {
    if (options.make) makeKeyFile(path)
    let descriptor: number
    try {
      descriptor = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return undefined
      if (errnoOf(error) !== 'ELOOP') throw error
      throw new AnyplaceError('permission-denied', `The key file ${JSON.stringify(path)} is a link.`, {
        hint: 'put the file itself there',
      })
    }
    try {
      const stats = fstatSync(descriptor)
      if (!stats.isFile()) throw new AnyplaceError('permission-denied', `${JSON.stringify(path)} is no regular file.`)
      assertPrivate(stats, path, 'chmod 600')
      return keyFromBase64(readFileSync(descriptor, 'utf8'), `The key file ${JSON.stringify(path)}`)
    } finally {
      closeSync(descriptor)
    }
  } catch (error) {
    throw fileError(error, 'read the key file', path)
  }
}

/** Whole or not at all, and never over a key that another process made at the same moment. */
function makeKeyFile(path: string): void {
  const temporary = `${path}.${newId()}`
  try {
    const descriptor = openSync(temporary, 'wx', 0o600)
    try {
      writeSync(descriptor, `${randomBytes(KEY_BYTES).toString('base64')}\n`)
      fsyncSync(descriptor)
    } finally {
      closeSync(descriptor)
    }
    linkSync(temporary, path)
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error
  } finally {
    rmSync(temporary, { force: true })
  }
}
