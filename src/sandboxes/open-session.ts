import { AnyplaceError } from '../spec/index.ts'
import type { CallOptions, Host, Session } from '../spec/index.ts'
import { openDaemonSession } from '../execd/session.ts'

/** How a session to a host is made; replaced in tests. */
export type SessionOpener = (host: Host, options: CallOptions) => Promise<Session>

/**
 * The exec daemon's session; where no daemon can run (an image without Python), the platform's own exec gives the same
 * interface, slower.
 */
export const openSession: SessionOpener = async (host, options) => {
  let channel
  try {
    channel = await host.connect(options)
  } catch (error) {
    if (!AnyplaceError.is(error, 'no-exec-daemon') || host.channel === undefined) throw error
    const [{ openPlatformSession }, { workdir }] = await Promise.all([
      import('../execd/platform/session.ts'),
      host.info(options),
    ])
    return openPlatformSession(host, { workdir, ...options })
  }
  return openDaemonSession(channel, options)
}
