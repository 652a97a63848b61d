import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { fileError } from '../kit/file-error.ts'
import type { CliIo } from './cli-io.ts'
import { usageError } from './usage-error.ts'

/** Where a secret may come from beside the terminal. Never from an argument: others can read those. */
export interface SecretSource {
  /** Name of an environment variable of ours. */
  readonly env: string | undefined
  /** A file; its first line counts. */
  readonly file: string | undefined
}

/**
 * The secret from where the options say; undefined when they say nothing.
 *
 * @param what `passphrase` or `password`, as in the options
 */
export async function readSecret(io: CliIo, what: string, source: SecretSource): Promise<string | undefined> {
  const { env, file } = source
  if (env !== undefined && file !== undefined) {
    throw usageError(`--${what}-env and --${what}-file are both given.`, 'keep one of them')
  }
  if (env !== undefined) {
    const value = io.env[env]
    if (value) return value
    throw usageError(
      `--${what}-env: ${JSON.stringify(env)} is not set in this environment.`,
      `export ${env}=…`,
      `--${what}-env`,
    )
  }
  if (file === undefined) return undefined
  const path = resolve(io.cwd, file)
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    throw fileError(error, `read the ${what} from`, path)
  }
  const [line = ''] = text.split(/\r?\n/)
  if (line === '')
    throw usageError(`--${what}-file: ${JSON.stringify(path)} has an empty first line.`, undefined, `--${what}-file`)
  return line
}
