import { deadlineSignal, throwIfAborted } from '../../kit/deadline.ts'
import { AnyplaceError } from '../../spec/index.ts'
import type { CallOptions } from '../../spec/index.ts'
import { checkTarget } from './check-target.ts'
import { withLogin } from './login.ts'
import { connectFailure } from './ssh-failure.ts'
import { callSsh } from './ssh-program.ts'
import type { SshTarget } from './ssh-target.ts'

/**
 * Logs in once, over a connection of its own, and leaves.
 *
 * @returns why it did not work; undefined when it did
 * @throws AnyplaceError `cancelled`; `invalid-argument` for a target that ssh shall not see; what opening the key fails with
 */
export async function tryLogin(target: SshTarget, options: CallOptions = {}): Promise<AnyplaceError | undefined> {
  checkTarget(target)
  const signal = deadlineSignal(target.connectTimeoutMs ?? 20_000, options.signal)
  try {
    return await withLogin(target, { signal }, async (login) => {
      const { exitCode, stderr } = await callSsh(['-F', login.configPath, '-T', ...login.destination, 'true'], {
        signal,
      })
      return exitCode === 255 ? connectFailure(target, login.resolved, stderr, exitCode) : undefined
    })
  } catch (error) {
    throwIfAborted(options.signal)
    if (AnyplaceError.is(error, 'timeout')) return error
    throw error
  }
}
